"""Servers for a rehearsal that are processes of this machine: real agents, under supervisord, each with an address.

They stand behind the `Provisioner` seam in the place of containers: quick, and as real as can be without root.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from tests.ports import free_neighbours

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.rehearsal_cluster import Address
from clarion_controller.provisioners.provisioner import Machine, ServerOrder
from clarion_protocol.errors import ProvisionFailed

BIN = Path(sys.executable).parent
APPS = ("db", "web")

SUPERVISORD = """\
[supervisord]
nodaemon = true
pidfile = {folder}/supervisord.pid
logfile = {folder}/supervisord.log
childlogdir = {folder}
[unix_http_server]
file = {folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://{folder}/supervisor.sock
"""

PROGRAM = """\
[program:{app}]
autostart = false
directory = {folder}/srv/{app}/current
command = {python} serve.py
environment = ADDRESS="{address}"
startsecs = 0
"""

AGENT = """\
state_dir = "{folder}/agent"
apps_root = "{folder}/srv"
service_manager = "supervisord"
disk_reserve = "1MB"
cloud = "none"
[supervisord]
socket = "{folder}/supervisor.sock"
[app.db]
units = ["db.service"]
[app.web]
units = ["web.service"]
"""


@dataclass
class Processes:
    """Makes servers below `folder`; those in `broken` never come up, and those in `mute` never join."""

    folder: Path
    broken: Sequence[str] = ()
    mute: Sequence[str] = ()
    alive: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    introduced: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def create(self, order: ServerOrder) -> Machine:
        """Start what a server would start at its first boot."""
        if order.name in self.broken:
            raise ProvisionFailed(f"{order.name} did not come up:\nKernel panic", hint="Look at it.")
        folder, address = self.folder / order.name, f"127.0.7.{next(self._numbers)}"
        for app in APPS:
            (folder / "srv" / app).mkdir(parents=True)
        values = {"folder": folder, "address": address, "python": sys.executable}
        programs = [PROGRAM.format(app=app, **values) for app in APPS]
        (folder / "supervisord.conf").write_text("\n".join([SUPERVISORD.format(**values), *programs]))
        (folder / "agent.toml").write_text(AGENT.format(**values))
        self._start(order.name, "supervisord", "-c", folder / "supervisord.conf")
        if order.name not in self.mute:
            agent = (BIN / "clarion-agent", "--config", folder / "agent.toml")
            subprocess.run([*agent, "join", order.first_boot.token], check=True, capture_output=True, timeout=60)
            self._start(order.name, *agent[:1], *agent[1:], "run")
        return Machine(order.name, f"process:{order.name}", address)

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Remember who was introduced as whom."""
        self.introduced = {name: machine.address for name, machine in machines.items()}

    def console(self, machine: Machine) -> str:
        """Return something that only this machine says."""
        return f"the console of {machine.name}"

    def remove(self, machine: Machine) -> None:
        """End all its processes."""
        for process in self.alive.pop(machine.name, []):
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            process.wait(20)
            for child in children:
                if child.is_running():
                    child.kill()

    def _start(self, server: str, program: str | Path, *arguments: str | Path) -> None:
        command = [str(BIN / program), *map(str, arguments)]
        with (self.folder / server / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.alive.setdefault(server, []).append(process)


@dataclass
class OnThisMachine:
    """The place of such servers; `opened` is what is handed to `rehearse`."""

    machines: Processes
    address: Address = field(default_factory=lambda: Address("127.0.0.1", "127.0.0.1", free_neighbours(4)))

    def provisioner(self, role: Role) -> Processes:
        """Return the one for all."""
        return self.machines

    def start(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program here."""
        return subprocess.Popen(list(argv), **popen)

    @contextmanager
    def opened(self, night: Night, environment: str) -> Iterator[OnThisMachine]:
        """Open it for a night."""
        yield self
