"""The demo's cluster: a controller, three servers, and the command line that a person would type."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import BIN, Done, Machine, Surprise, free_ports, run, wait_until, watch
from server import Server

from clarion_controller.client.calls import Controller
from clarion_protocol.errors import ControllerUnreachable

ENVIRONMENT = "production"
SHOP = Path(__file__).resolve().parent.parent / "shop"

FLEET = """\
[cluster]
name = "demo"

[controller]
address = "127.0.0.1"
bind = "127.0.0.1"
signal_port = {0}
report_port = {1}
join_port = {2}
package_port = {3}

[environment.production.strategy]
type = "rolling"
max_parallel = 1
bake_time = "500ms"
"""


class Cluster:
    """A controller at `home`, and `servers` that join it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.home = machine.folder / "home"
        self.ports = free_ports(7)
        self._api = Controller(self.home / "run" / "controller.sock")
        self.servers = [Server(machine, f"web-{n}", port) for n, port in enumerate(self.ports[4:], start=1)]

    def clarion(self, *arguments: str) -> Done:
        """Type a command."""
        return run(BIN / "clarion", *arguments, environment={"CLARION_HOME": str(self.home)})

    def show(self, *arguments: str) -> int:
        """Type a command, show what a person would see as it comes, and return the exit code."""
        print(f"  $ clarion {' '.join(arguments)}", flush=True)
        return watch(BIN / "clarion", *arguments, environment={"CLARION_HOME": str(self.home)})

    def must(self, *arguments: str) -> str:
        """Type a command that has to succeed, and return its output."""
        done = self.clarion(*arguments)
        if done.code:
            raise Surprise(f"'clarion {arguments[0]}' ended with {done.code}: {done.err}")
        return done.out

    def create(self) -> None:
        """Make the cluster and its fleet.toml, and start the controller."""
        self.must("init", "--address", "127.0.0.1", "--name", "demo")
        (self.home / "fleet.toml").write_text(FLEET.format(*self.ports))
        self.must("validate")
        self.controller = self._machine.start("controller", BIN / "clarion", "--home", self.home, "serve")
        self.wait_for_controller()

    def wait_for_controller(self) -> None:
        """Wait until the controller answers."""

        wait_until("the controller answers", self._answers)

    def _answers(self) -> bool:
        self.controller.check_alive()
        try:
            return bool(self._api.fleet())
        except ControllerUnreachable:
            return False

    def add_servers(self) -> None:
        """Let each server join with a token of its own, start its agent, and wait until all are connected."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._add, self.servers))
        wait_until("every agent is connected", self.all_connected)

    def _add(self, server: Server) -> None:
        server.join(self.must("hosts", "invite", server.name, "-e", ENVIRONMENT).strip())
        server.start()

    def all_connected(self) -> bool:
        """Return whether the controller sees every server."""
        for server in self.servers:
            server.agent.check_alive()
        return sum(host.is_connected for host in self._api.hosts()) == len(self.servers)

    def publish(self, version: str, *, is_broken: bool = False) -> None:
        """Build and publish a version of the shop: the same code, or with prices that it cannot add up."""
        source = self._machine.folder / f"shop-{version}"
        shutil.copytree(SHOP, source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("clarion.toml"), source)
        if is_broken:
            goods = source / "goods.json"
            # Text where a number should be: the self-test does not notice, the front page does.
            goods.write_text(re.sub(r": (\d+)", r': "\1"', goods.read_text()))
        dist = self._machine.folder / "dist"
        self.must("build", str(source), "--version", version, "--out", str(dist))
        self.must("publish", str(dist / f"shop-{version}.tar.zst"))
        print(f"  built and published shop {version}", flush=True)

    def deploy(self, version: str, *options: str) -> int:
        """Deploy a version everywhere, and return the exit code."""
        return self.show("deploy", "shop", version, "-e", ENVIRONMENT, "--yes", *options)

    def versions(self) -> list[str]:
        """Return what each server's shop answers to /version."""
        return [server.version() for server in self.servers]

    def reported(self) -> list[str]:
        """Return what `clarion status` says that each server runs."""
        streams = json.loads(self.must("status", "shop", "-e", ENVIRONMENT, "--json"))
        hosts = {host["name"]: host["running"] for host in streams[0]["hosts"]}
        return ["".join(app["version"] for app in hosts.get(server.name, [])) for server in self.servers]
