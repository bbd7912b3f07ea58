"""Debian servers in containers of this machine, on a network of their own that has no way out; the default."""

from __future__ import annotations

import atexit
import contextlib
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clarion_controller.durable_files import disk_trouble
from clarion_controller.provisioners.containers import night_folder
from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.container import Container
from clarion_controller.provisioners.containers.furnish import furnish
from clarion_controller.provisioners.containers.island import Island
from clarion_controller.provisioners.containers.network import HERE, Network
from clarion_controller.provisioners.containers.night_folder import NightFolder
from clarion_controller.provisioners.containers.recipe import this_machines_apt
from clarion_controller.provisioners.containers.requirements import demand_requirements
from clarion_controller.provisioners.containers.rootfs import RootFileSystems
from clarion_controller.provisioners.containers.staying import Here, Staying
from clarion_controller.provisioners.containers.staying import make as make_staying
from clarion_controller.provisioners.containers.workshop import Limits, Workshop
from clarion_controller.provisioners.provisioner import Machine, ServerOrder
from clarion_protocol.errors import BadConfig, ClarionError

PLACE = Path("/var/lib/clarion-nightly")
_LIMITS = Limits()
_HOST_NAME = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")


class _Night:
    """What is kept from the first server to the end of this process: the night's folder, and what lies in it."""

    def __init__(self, place: Path, name: str) -> None:
        demand_requirements()
        apt = this_machines_apt()
        self.folder = NightFolder(place, name)
        self.rootfs = RootFileSystems(self.folder.path, apt)


class _Site:
    """An island with its network, and the workshop on it; `close` ends every server."""

    def __init__(self, folder: NightFolder, limits: Limits) -> None:
        self.island = Island()
        self.groups = Groups(folder.group)
        self.workshop = Workshop(self.island, folder.path, self.groups, limits)
        try:
            self.network = Network(self.island)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.island.close()
        self.groups.remove()


class NspawnProvisioner:
    """Makes the servers of one night, each from nothing; all of them end with this process, however it ends.

    May be used by several threads. `close`, or the end of a `with`, takes all servers and their network away, and the
    next server begins a new network; the root file systems that they lie on are built once and kept until this
    process ends.
    """

    def __init__(self, cluster: str, run: str, place: Path = PLACE, limits: Limits = _LIMITS) -> None:
        self._name = f"{cluster}-{run}"
        self._place = place
        self._here = Here()
        self._limits = limits
        self._lock = threading.Lock()
        self._night: _Night | None = None
        self._site: _Site | None = None
        self._made: dict[str, Container | Staying] = {}
        self._parts: dict[str, Mapping[str, float]] = {}
        self._number = 0

    def __enter__(self) -> NspawnProvisioner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, order: ServerOrder) -> Machine:
        """Make a server of today's packages, boot it, and return when it is up; see `Provisioner.create`."""
        _demand_name(order.name)
        if order.name in self._made:
            raise BadConfig(f"there is a server {order.name} already", hint="Give each server a name of its own.")
        with disk_trouble(self._place if order.run else self._here.machines):
            return self._create_for_tonight(order) if order.run else self._create_to_stay(order)

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Write these names into /etc/hosts of each server."""
        addresses = {name: machine.address for name, machine in machines.items()}
        for machine in machines.values():
            server = self._made.get(machine.name)
            if isinstance(server, Container):
                server.introduce(addresses)

    def console(self, machine: Machine) -> str:
        """Return the end of the console and of what Clarion's units logged."""
        server = self._made.get(machine.name)
        return server.console() if server else ""

    def parts(self, machine: Machine) -> Mapping[str, float]:
        """Return how many seconds each part of making a server took: rootfs, agent, setup, boot."""
        return self._parts.get(machine.name, {})

    def remove(self, machine: Machine) -> None:
        """Switch a server off and remove its disk."""
        server = self._made.pop(machine.name, None)
        if server:
            server.take_away()

    def sweep(self) -> list[str]:
        """Remove the folders and control groups of nights whose process is dead."""
        return [*night_folder.sweep(self._place), *night_folder.sweep(self._here.aside)]

    def join_address(self) -> str:
        """Return the address at which servers reach what `run_inside` started."""
        return HERE

    def run_inside(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program of this machine in the servers' network; it ends with the night, if not before.

        It sees this machine's files and has no other network. Signals to what is returned reach it.
        """
        return self._begin()[1].island.start_inside(argv, **popen)

    def give_up(self) -> None:
        """End what is building servers now; each `create` that is under way then fails."""
        with self._lock:
            if self._site:
                self._site.workshop.given_up.set()

    def close(self) -> None:
        """Take away every server, what `run_inside` started, and the network."""
        with self._lock:
            site, self._site = self._site, None
            containers = [each for each in self._made.values() if isinstance(each, Container)]
            self._made = {name: each for name, each in self._made.items() if each not in containers}
        if site:
            site.close()
        for container in containers:
            container.take_away()

    def finish(self) -> None:
        """Take away all, what was built too; the end of the process does it by itself, or else the next sweep."""
        atexit.unregister(self.finish)
        self.close()
        with self._lock:
            night, self._night = self._night, None
        if night:
            night.folder.remove()

    def _begin(self) -> tuple[_Night, _Site, int]:
        """Return the night and its island, made if they are not there yet, and the number of a new server."""
        with self._lock:
            if self._night is None:
                self._night = _Night(self._place, self._name)
                atexit.register(self.finish)
            self._site = self._site or _Site(self._night.folder, self._limits)
            self._number += 1
            return self._night, self._site, self._number

    def _create_for_tonight(self, order: ServerOrder) -> Machine:
        night, site, number = self._begin()
        container = Container(site.workshop, site.network, order.name, number)
        try:
            self._make(night, site, container, order)
        except BaseException:
            # Also of a night that is being ended: what it made goes with it, and the reason stays the first one.
            with contextlib.suppress(ClarionError):
                container.take_away()
            raise
        self._made[order.name] = container
        return Machine(order.name, f"nspawn:{order.name}", container.address)

    def _create_to_stay(self, order: ServerOrder) -> Machine:
        staying, self._parts[order.name] = make_staying(order, self._here, self._limits)
        self._made[order.name] = staying
        return Machine(order.name, f"nspawn:{order.name}")

    def _make(self, night: _Night, site: _Site, container: Container, order: ServerOrder) -> None:
        rootfs, waited = night.rootfs.of(order.role.nspawn, site.workshop)
        container.lay(rootfs)
        built = furnish(site.workshop, container.site, order, is_apart=True)
        self._parts[order.name] = {"rootfs": waited, **built, "boot": container.boot()}


def _demand_name(name: str) -> None:
    if not _HOST_NAME.match(name):
        raise BadConfig(f"{name!r} cannot be a server's host name", hint="Use a-z, 0-9 and -, at most 63 characters.")
