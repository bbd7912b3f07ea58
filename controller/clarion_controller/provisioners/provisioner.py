"""What makes servers from nothing and takes them away again: nspawn, aws, gcp, azure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clarion_controller.fleet_toml.roles import Role


@dataclass(frozen=True)
class FirstBoot:
    """What a new server needs to become a host: an agent, its configuration, a script before, and a token to join.

    `agent` is a file (nspawn), which the owner of `home` can read, or an https:// address (clouds), or empty where the
    image has it.
    """

    token: str
    agent: str = ""
    agent_config: str = ""
    setup: str = ""
    home: Path = Path("/")


@dataclass(frozen=True)
class ServerOrder:
    """One server to make. `run` marks everything that belongs to one night; empty for a server that stays."""

    name: str
    role: Role
    first_boot: FirstBoot
    run: str = ""


@dataclass(frozen=True)
class Machine:
    """A server that was made: `instance` as its provider numbers it ("aws:i-0abc", "nspawn:web-1")."""

    name: str
    instance: str
    address: str = ""


@dataclass(frozen=True)
class Found:
    """Something in a cloud that carries a cluster's mark, and `run` as that of a night.

    `made_as` is what it was made with; who may write tags cannot write that. `key` is how its cloud is asked for
    it, and `removal` the command with which a person takes it away.
    """

    instance: str
    name: str
    run: str
    made_as: str
    key: str
    removal: str

    def __str__(self) -> str:
        return f"{self.instance} ({self.name[:64]}) of run {self.run[:64]}"


class Provisioner(Protocol):
    """Somewhere servers can be made. All calls block, with time limits of their own, and raise only ClarionErrors."""

    def create(self, order: ServerOrder) -> Machine:
        """Make a server and return when it has booted; what was made is taken away again if it fails.

        Raises:
            CloudRefused, CloudUnavailable, BadConfig: as for a discoverer.
            ProvisionFailed: it did not come up; the message ends with what its console said.
        """

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Let servers of one night find each other by these names, where the place has no DNS of its own."""

    def console(self, machine: Machine) -> str:
        """Return the end of what a server printed at boot and logged since, as far as it can be had; "" if not."""

    def remove(self, machine: Machine) -> None:
        """Take a server away, with all that was made for it; nothing happens if it is gone."""


class Cloud(Provisioner, Protocol):
    """A provisioner whose servers outlive who made them; what of them a sweep ends, `nightly/left.py` decides."""

    def found(self) -> list[Found]:
        """Return what there is that carries this cluster's mark and a night's; what stays is not among it.

        Raises:
            CloudRefused, CloudUnavailable, BadConfig: as for `create`.
        """

    def end(self, found: Found) -> None:
        """Take that away, and return when it is gone; nothing happens if it is gone already.

        Raises:
            CloudRefused, CloudUnavailable, BadConfig: as for `create`.
        """
