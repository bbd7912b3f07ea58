"""Where builds come from and where they go: the port for announcements, and the builder's socket."""

from __future__ import annotations

import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from clarion_controller.builds.build import BUILDER_SOCKET
from clarion_controller.builds.builds import Builds
from clarion_controller.builds.desk import create_builder_app
from clarion_controller.builds.intake import Intake
from clarion_controller.builds.receive import Receiver
from clarion_controller.process import tcp_socket, unix_socket

GROUP = "clarion-build"

_log = structlog.get_logger(__name__)


class Port(NamedTuple):
    """An ASGI app, and where it is served."""

    name: str
    app: object
    listener: socket.socket


@contextmanager
def build_ports(builds: Builds) -> Iterator[list[Port]]:
    """Listen for the builder, and for announcements if a repository has a secret to check them with.

    Raises:
        BadConfig: the port or the socket cannot be bound.
    """
    at, fleet = builds.cluster.at_start, builds.cluster.fleet
    with ExitStack() as stack:
        path = builds.cluster.home / BUILDER_SOCKET
        ports = [Port("builder", create_builder_app(builds), stack.enter_context(unix_socket(path)))]
        _open_to_builder(path)
        if any(repository.secret for repository in fleet.repository.values()):
            receiver = Receiver(builds.cluster, Intake(builds).push)
            ports.append(Port("hooks", receiver, stack.enter_context(tcp_socket(at.hook_bind, at.hook_port))))
        yield ports


def _open_to_builder(path: Path) -> None:
    """Let the builder's group in; where there is no such group, only the controller's own user and group may."""
    try:
        group = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return
    if path.parent.stat().st_mode & stat.S_ISGID:
        return  # the folder has handed its group on
    try:
        if path.stat().st_gid != group:
            os.chown(path, -1, group)
    except OSError as error:
        hint = f"Run 'usermod -aG {GROUP} clarion' and restart the controller."
        _log.warning("builder.not_let_in", socket=str(path), reason=error.strerror, hint=hint)
