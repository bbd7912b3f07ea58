"""Debian servers in containers of this machine, on a network of their own that has no way out; the default."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clarion_controller.provisioners.containers import night_folder
from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.container import Container
from clarion_controller.provisioners.containers.furnish import furnish
from clarion_controller.provisioners.containers.island import Island
from clarion_controller.provisioners.containers.network import HERE, Network
from clarion_controller.provisioners.containers.night_folder import NightFolder
from clarion_controller.provisioners.containers.recipe import recipe_of, this_machines_apt
from clarion_controller.provisioners.containers.requirements import demand_requirements
from clarion_controller.provisioners.containers.rootfs import RootFileSystems
from clarion_controller.provisioners.containers.workshop import Limits, Workshop
from clarion_controller.provisioners.provisioner import Machine, ServerOrder
from clarion_protocol.errors import BadConfig, ClarionError

PLACE = Path("/var/lib/clarion-nightly")
_HOST_NAME = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")


class _Night:
    """All that one night shares: its folder, its island and the root file systems it has built."""

    def __init__(self, place: Path, name: str, limits: Limits) -> None:
        demand_requirements()
        self.apt = this_machines_apt()
        self.folder = NightFolder(place, name)
        with contextlib.ExitStack() as undo:
            undo.callback(self.folder.remove)
            self.island = undo.enter_context(contextlib.closing(Island()))
            self.network = Network(self.island)
            undo.pop_all()
        self.groups = Groups(self.folder.group)
        self.workshop = Workshop(self.island, self.folder.path, self.groups, limits)
        self.rootfs = RootFileSystems(self.workshop, self.apt)

    def close(self) -> None:
        self.island.close()
        self.groups.remove()
        self.folder.remove()


class NspawnProvisioner:
    """Makes the servers of one night, each from nothing, and ends with the process that has it.

    May be used by several threads; a night's root file systems are built once and shared. `close` takes away all.
    """

    def __init__(self, cluster: str, run: str, place: Path = PLACE, limits: Limits | None = None) -> None:
        self._name = f"{cluster}-{run}"
        self._place = place
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._night: _Night | None = None
        self._containers: dict[str, Container] = {}
        self._parts: dict[str, dict[str, float]] = {}
        self._made = 0

    def __enter__(self) -> NspawnProvisioner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, order: ServerOrder) -> Machine:
        """Make a server of today's packages, boot it, and return when it is up; see `Provisioner.create`."""
        _demand_name(order.name)
        night = self._the_night()
        container = Container(night.workshop, night.network, order.name, self._next_number())
        try:
            self._make(night, container, order)
        except BaseException:
            # Also of a night that is being ended: what it made goes with it, and the reason stays the first one.
            with contextlib.suppress(ClarionError):
                container.take_away()
            raise
        self._containers[order.name] = container
        return Machine(order.name, f"nspawn:{order.name}", container.address)

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Write these names into /etc/hosts of each server."""
        addresses = {name: machine.address for name, machine in machines.items()}
        for machine in machines.values():
            self._containers[machine.name].introduce(addresses)

    def console(self, machine: Machine) -> str:
        """Return the end of the console and of what Clarion's units logged."""
        container = self._containers.get(machine.name)
        return container.console() if container else ""

    def parts(self, machine: Machine) -> Mapping[str, float]:
        """Return how many seconds each part of making a server took: rootfs, agent, setup, boot."""
        return self._parts.get(machine.name, {})

    def remove(self, machine: Machine) -> None:
        """Switch a server off and remove its disk."""
        container = self._containers.pop(machine.name, None)
        if container:
            container.take_away()

    def sweep(self) -> list[str]:
        """Remove the folders and control groups of nights whose process is dead."""
        return night_folder.sweep(self._place)

    def join_address(self) -> str:
        """Return the address at which servers reach what `run_inside` started."""
        return HERE

    def run_inside(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program of this machine in the servers' network; it ends with the night, if not before.

        It sees this machine's files and has no other network. Signals to what is returned reach it.
        """
        return self._the_night().island.start_inside(argv, **popen)

    def close(self) -> None:
        """Take away every server, the network and what was built."""
        with self._lock:
            night, self._night = self._night, None
        self._containers.clear()
        if night:
            night.close()

    def _the_night(self) -> _Night:
        with self._lock:
            if self._night is None:
                self._night = _Night(self._place, self._name, self._limits)
            return self._night

    def _next_number(self) -> int:
        with self._lock:
            self._made += 1
            return self._made

    def _make(self, night: _Night, container: Container, order: ServerOrder) -> None:
        rootfs, waited = night.rootfs.of(recipe_of(order.role.nspawn, night.apt))
        container.lay(rootfs)
        container.connect()
        built = furnish(night.workshop, container.site, order, is_apart=True)
        self._parts[order.name] = {"rootfs": waited, **built, "boot": container.boot()}


def _demand_name(name: str) -> None:
    if not _HOST_NAME.match(name):
        raise BadConfig(f"{name!r} cannot be a server's host name", hint="Use a-z, 0-9 and -, at most 63 characters.")
