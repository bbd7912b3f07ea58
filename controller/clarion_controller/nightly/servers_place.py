"""Where fresh servers are made, and where the rehearsal's controller runs so that they reach it.

Before anything is made in a cloud, it is on this disk that this night makes it there: no sweep takes away what is not.

Containers have a network of their own on this machine, without a way out: the controller runs inside it. Servers in a
cloud come to this machine, at `[nightly] address` and the four ports from `port` on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.ledger import Ledger
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.places import in_clouds, roles_of
from clarion_controller.nightly.rehearsal_cluster import Address
from clarion_controller.provisioners.choose import nspawn_of, provisioner_of
from clarion_controller.provisioners.nspawn import NspawnProvisioner
from clarion_controller.provisioners.provisioner import Provisioner
from clarion_protocol.errors import BadConfig

EVERYWHERE = "0.0.0.0"  # noqa: S104 (servers come from other machines; CURVE and enrolment decide who gets in)
FIRST_PORT = 7411  # in a network of its own nobody else has it


class Place(Protocol):
    """A place for the servers of one environment."""

    @property
    def address(self) -> Address:
        """Where servers here find the controller."""

    def provisioner(self, role: Role) -> Provisioner:
        """Return who makes servers of this role.

        Raises:
            BadConfig: nobody can.
        """

    def start(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program where servers here reach it."""


@dataclass(frozen=True)
class Containers:
    """Servers in containers of this machine."""

    nspawn: NspawnProvisioner

    @property
    def address(self) -> Address:
        """The containers' side of this machine."""
        return Address(self.nspawn.join_address(), EVERYWHERE, FIRST_PORT)

    def provisioner(self, role: Role) -> Provisioner:
        """Return the one for all."""
        return self.nspawn

    def start(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program in the containers' network."""
        return self.nspawn.run_inside(argv, **popen)


@dataclass(frozen=True)
class Clouds:
    """Servers in clouds, which reach this machine at an address that fleet.toml names."""

    night: Night

    @property
    def address(self) -> Address:
        """What `[nightly]` says."""
        nightly = self.night.fleet.nightly
        return Address(nightly.address, EVERYWHERE, nightly.port)

    def provisioner(self, role: Role) -> Provisioner:
        """Return who makes servers of this role.

        Raises:
            BadConfig: nobody can.
        """
        return provisioner_of(role, self.night.home, self.night.cluster, self.night.run)

    def start(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program on this machine."""
        return subprocess.Popen(list(argv), **popen)


@contextmanager
def place_for(night: Night, environment: str) -> Iterator[Place]:
    """Open the place where an environment's roles are made.

    Raises:
        BadConfig: its roles cannot be in one rehearsal, or nobody says where clouds reach this machine.
        HostError, NoSpace: this disk does not take what has to be on it before servers are made in a cloud.
    """
    roles = night.fleet.in_environment(environment).roles
    kinds = {night.fleet.role[name].provisioner for name in roles}
    if kinds == {"nspawn"}:
        with nspawn_of(night.cluster, night.run) as nspawn:
            yield Containers(nspawn)
    elif "nspawn" in kinds:
        raise BadConfig(
            f"the roles of {environment} are made in containers and in clouds, which do not reach each other",
            hint="Rehearse containers in an environment of their own.",
        )
    elif not night.fleet.nightly.address:
        raise BadConfig("servers in a cloud cannot find this machine", hint="Set address below [nightly].")
    else:
        Ledger(night.home).begin(night, in_clouds(roles_of(night.fleet)))
        yield Clouds(night)
