"""What a controller needs of its process: to be the only one, its sockets, a log for people or the journal."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clarion_controller.package_store.app import listen
from clarion_protocol.errors import BadConfig, Blocked


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the home's lock: two controllers on one home would use the same numbers for different signals.

    Raises:
        Blocked: another controller has it.
    """
    path = home / "state" / "controller.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise Blocked(
                f"a controller already runs on {home} (process {file.read().strip() or 'unknown'})",
                hint="Stop it first: 'systemctl stop clarion-controller'.",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def unix_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at `path`, for the owner and the group only; one that a crash left behind is replaced.

    Raises:
        BadConfig: it cannot be bound, or something else is there.
    """
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o117)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise BadConfig(f"cannot listen at {path}: {error}", hint="Name another place with --api.") from error
        finally:
            os.umask(mask)
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


@contextmanager
def tcp_socket(bind: str, port: int) -> Iterator[socket.socket]:
    """Listen at an address and port.

    Raises:
        BadConfig: it cannot be bound.
    """
    try:
        listener = listen(bind, port)
    except OSError as error:
        raise BadConfig(
            f"cannot listen on {bind} port {port}: {error.strerror}",
            hint=f"Run 'ss -ltnp sport = :{port}' to see who has it, or change [controller] in fleet.toml.",
        ) from error
    with listener:
        yield listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a controller that is gone; `only_one` holds, so no living one can have it."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BadConfig(f"{path} is in the way and is no socket", hint="Move it away, or name another with --api.")
    path.unlink()
