"""The ports of agents and forges, tried from here: a firewall on the way is for 'clarion-agent join' to find."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from clarion_controller.api.answers import Finding, Health
from clarion_controller.fleet_toml.fleet import Controller, Fleet

PATIENCE = 3.0  # seconds for one connection
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where it listens, and how one gets there)
PORTS = ("signal_port", "report_port", "join_port", "package_port")


def examine_ports(at: Controller) -> Iterator[Finding]:
    """Yield whether `address`, which agents are told, leads to each of the ports."""
    try:
        socket.getaddrinfo(at.address, at.join_port, type=socket.SOCK_STREAM)
    except OSError as error:
        sentence = f"the name {at.address} cannot be looked up here: {error.strerror or error}"
        hint = "Correct [controller] address in fleet.toml, or the DNS; hosts are told this name when they join."
        yield Finding(subject="address", health=Health.FAILED, sentence=sentence, hint=hint)
        return
    closed = {name: trouble for name in PORTS if (trouble := _trouble(at.address, getattr(at, name)))}
    for name, trouble in closed.items():
        sentence = f"{at.address} port {getattr(at, name)} ({name}) cannot be reached from here: {trouble}"
        hint = f"Check that {at.address} is this machine ('ip address') and that its firewall lets {name} in."
        yield Finding(subject="ports", health=Health.FAILED, sentence=sentence, hint=hint)
    if not closed:
        listed = ", ".join(str(getattr(at, name)) for name in PORTS)
        yield Finding(subject="ports", health=Health.OK, sentence=f"{at.address} answers on ports {listed}")


def examine_hooks(fleet: Fleet, at: Controller) -> Iterator[Finding]:
    """Yield that pushes are announced to nobody, if a repository has a secret and the port is closed."""
    if not any(repository.secret for repository in fleet.repository.values()):
        return
    address = EVERYWHERE.get(at.hook_bind, at.hook_bind)
    if trouble := _trouble(address, at.hook_port):
        sentence = f"no announcement of a push is heard at {address} port {at.hook_port} (hook_port): {trouble}"
        hint = "It is opened when the controller starts: 'systemctl restart clarion-controller'."
        yield Finding(subject="hooks", health=Health.WARNING, sentence=sentence, hint=hint)


def _trouble(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
