"""A whole controller in this process: real sockets, real database, its API spoken to as the command line does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.ports import free_ports
from tests.stores import Cluster, cluster_in

from clarion_controller.api.desk import Desk
from clarion_controller.client.calls import Controller
from clarion_controller.discover.ask import ask_in_child
from clarion_controller.discover.attempts import Ask
from clarion_controller.gateway.enrol import Invitation
from clarion_controller.gateway.gateway import Inbound
from clarion_controller.key_files import KeyFolder
from clarion_controller.serve import running
from clarion_protocol.documents import Deployment, Progress, Report, Running
from clarion_protocol.invite import JoinRequest, hash_secret, new_secret
from clarion_protocol.keys import SigningKey
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.wire import Up
from clarion_protocol.words import HostStatus, new_id

T = TypeVar("T")
PORTS = ("signal_port", "report_port", "join_port", "package_port")


def fleet_toml(ports: list[int], environments: str = "[environment.production]\n") -> str:
    """Return a fleet.toml for a controller on this machine's own address."""
    lines = [f"{key} = {port}" for key, port in zip(PORTS, ports, strict=True)]
    head = ["[cluster]", 'name = "acme"', "[controller]", 'address = "127.0.0.1"', 'bind = "127.0.0.1"']
    return "\n".join([*head, *lines, environments])


def new_cluster(folder: Path, environments: str = "[environment.production]\n") -> Cluster:
    """Make a cluster whose controller listens on free ports."""
    cluster = cluster_in(folder, "production", "staging")
    (cluster.home / "fleet.toml").write_text(fleet_toml(free_ports(len(PORTS)), environments))
    return cluster


class LiveHost:
    """A host that says what a test wants it to say."""

    def __init__(self, id_: str, cluster: str, key: SigningKey) -> None:
        self.id, self._cluster, self._key, self._seq = id_, cluster, key, 0

    def says(self, now: float, deployment: Deployment, status: HostStatus, runs: Running | None = None) -> Inbound:
        """Return a signed report of where this host stands."""
        self._seq += 1
        progress = Progress(deployment=deployment.id, stream=deployment.stream, status=status, log="it went well")
        running = [runs] if runs else []
        report = Report(
            cluster=self._cluster, host=self.id, seq=self._seq, at=int(now), running=running, progress=progress
        )
        return Inbound(self.id, Up.REPORT, report.sealed(self._key))


class Live:
    """A controller that serves, and a hand on its event loop."""

    def __init__(self, home: Path, api: Path, loop: asyncio.AbstractEventLoop, desk: Desk) -> None:
        self.home, self._loop, self.desk = home, loop, desk
        self.client = Controller(api)
        self.deployer = KeyFolder(home / "keys").read("deployer")

    def on_loop(self, call: Callable[[], T]) -> T:
        """Return what `call` returns on the controller's event loop."""

        async def do() -> T:
            return call()

        return self.await_on_loop(do)

    def await_on_loop(self, call: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what the coroutine of `call` returns on the controller's event loop."""
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def enrol(self, name: str, environment: str = "production", instance: str = "") -> LiveHost:
        """Enrol a host as the join port would; `instance` is its number in its cloud."""
        key, invite = SigningKey.generate(), new_id()
        invitation = Invitation(hash_secret(new_secret()), environment, (), None, 1, 2**40)
        self.desk.roster.invite(invitation, invite)
        transport = TransportKey.generate().public
        request = JoinRequest(
            invite=invite, name=name, sign_key=key.public_hex, transport_key=transport, instance=instance
        )
        host = self.desk.roster.admit(request, invitation)
        self.on_loop(lambda: self.desk.rollouts.host_joined(host))
        self.on_loop(lambda: self.desk.membership.welcome(host))
        return LiveHost(host.id, self.desk.cluster.id, key)

    def turn(self, *said: Inbound) -> None:
        """Let the controller hear something."""
        self.on_loop(lambda: self.desk.rollouts.turn(said))


@contextmanager
def live(home: Path, ask: Ask = ask_in_child) -> Iterator[Live]:
    """Have the controller of `home` serve within a `with` block; `ask` asks the sources of hosts."""
    api = home / "run" / "controller.sock"
    loop = asyncio.new_event_loop()
    ready: dict[str, Live | BaseException] = {}
    told, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        try:
            async with running(home, api, ask) as controller:
                ready["live"] = Live(home, api, loop, controller.desk)
                told.set()
                await stop.wait()
        except Exception as error:  # noqa: BLE001 (handed to the test)
            ready["error"] = error
            told.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert told.wait(20)
        if "error" in ready:
            raise ready["error"]  # type: ignore[misc]
        yield ready["live"]  # type: ignore[misc]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
