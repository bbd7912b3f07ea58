"""One signal to every host and a verified report back from each, beside the same over bare sockets.

The floor is what pyzmq with CURVE needs for the same messages between the same processes: no
signature is made or checked, no JSON read. Both are measured in the same run, in turns.
"""

from __future__ import annotations

import queue
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from tests.bench.fleet import Fleet, Member, members
from tests.bench.row import Row

from clarion_controller.gateway.gateway import Gateway, GatewaySettings, Inbound
from clarion_protocol.documents import Deployment, Plan, Signal, Targets, digest_of
from clarion_protocol.keys import SigningKey, public_key
from clarion_protocol.policy import Policy
from clarion_protocol.strict_json import dumps
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.trust import accept_report
from clarion_protocol.wire import Up
from clarion_protocol.words import Verb

SIGNALS = 7
CLUSTER = "c" * 32


@dataclass(frozen=True)
class Measured:
    """Seconds from a signal to the last report (median), and CPU seconds per host and signal on each side."""

    seconds: float
    controller_cpu: float
    agent_cpu: float
    report_bytes: int


def measure(count: int) -> list[Row]:
    """Return the rows for a fleet of `count` hosts."""
    ours = clarion(count)
    floor = raw(count, ours.report_bytes)
    return [
        Row("signal to all verified reports", count, ours.seconds * 1e3, "ms", floor.seconds * 1e3),
        Row("controller CPU per host and signal", count, ours.controller_cpu * 1e6, "us", floor.controller_cpu * 1e6),
        Row("agent CPU per host and signal", count, ours.agent_cpu * 1e6, "us", floor.agent_cpu * 1e6),
    ]


def signatures() -> Row:
    """Return what the signatures alone cost for one host and signal: the host checks one and makes one, we check it."""
    key = SigningKey.generate()
    signature, rounds = key.sign(b"x" * 700), 500
    public = public_key(key.public_hex)
    began = time.process_time()
    for _ in range(rounds):
        public.has_signed(signature, b"x" * 700)
        key.sign(b"x" * 700)
        public.has_signed(signature, b"x" * 700)
    return Row("of which Ed25519: two checks, one signature", 1, (time.process_time() - began) / rounds * 1e6, "us")


class Controller:
    """The keys of a controller, and the documents that its hosts have accepted."""

    def __init__(self, hosts: list[Member]) -> None:
        self.by_transport = {host.transport.public: host.host for host in hosts}
        self.sign_keys = {host.host: host.sign.public_hex for host in hosts}
        self.last_seq = dict.fromkeys(self.sign_keys, 0)
        self.transport = TransportKey.generate()
        self.key = SigningKey.generate()
        key = self.key.public_hex
        self.policy = Policy(cluster=CLUSTER, environment="production", deployers=[key], signals=[key], beacons=[key])
        now = int(time.time())
        self.deployment = Deployment(
            id="d" * 32,
            cluster=CLUSTER,
            environment="production",
            stream="production/shop",
            epoch=1,
            seq=1,
            app="shop",
            version="1.1.0",
            release=2,
            path="shop/shop-1.1.0.tar.zst",
            length=1000,
            sha256="e" * 64,
            targets=Targets(all=True),
            plan=Plan(),
            issued_at=now,
            not_before=now,
            expires=now + 3600,
        )

    def host_of(self, transport_key: str) -> str | None:
        """Return the owner of a key."""
        return self.by_transport.get(transport_key)

    def signal(self, seq: int) -> bytes:
        """Return a signed lease for everybody."""
        now = int(time.time())
        return Signal(
            cluster=CLUSTER,
            environment="production",
            stream="production/shop",
            seq=seq,
            deployment=self.deployment.id,
            deployment_sha256=digest_of(self.deployment),
            verb=Verb.LEASE,
            targets=Targets(all=True),
            issued_at=now,
            expires=now + 60,
        ).sealed(self.key)

    def verify(self, inbound: Inbound) -> None:
        """Believe a report, as the controller does."""
        report = accept_report(inbound.body, inbound.host, self.sign_keys[inbound.host], self.last_seq[inbound.host])
        self.last_seq[inbound.host] = report.seq


def clarion(count: int) -> Measured:
    """Measure the gateway, the trust code and the agent's sockets."""
    hosts = members(count)
    controller = Controller(hosts)
    arrived: queue.SimpleQueue[list[Inbound]] = queue.SimpleQueue()
    settings = GatewaySettings("127.0.0.1", 0, 0, bytes.fromhex(controller.transport.secret))
    gateway = Gateway(settings, controller, arrived.put)
    gateway.start()
    task = {
        "kind": "clarion",
        "server_key": controller.transport.public,
        "signal_port": gateway.signal_port,
        "report_port": gateway.report_port,
        "policy": dumps(controller.policy).decode(),
        "deployment": dumps(controller.deployment).decode(),
    }
    sizes: list[int] = []

    def collect() -> int:
        batch = arrived.get(timeout=30)
        reports = [inbound for inbound in batch if inbound.kind is Up.REPORT]
        for inbound in reports:
            controller.verify(inbound)
            sizes.append(len(inbound.body))
        return len(batch)

    def send(seq: int) -> None:
        gateway.broadcast("production", controller.signal(seq))

    try:
        return run(Fleet(hosts, task), count, send, collect, lambda: max(sizes))
    finally:
        gateway.stop()


def raw(count: int, report_bytes: int) -> Measured:
    """Measure bare sockets: any key is let in, nothing is read."""
    transport = TransportKey.generate()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    signals, reports = (_server(context, kind, transport) for kind in (zmq.PUB, zmq.ROUTER))
    task = {
        "kind": "raw",
        "server_key": transport.public,
        "signal_port": _port(signals),
        "report_port": _port(reports),
        "report_bytes": report_bytes,
    }
    message = [b"production", b"x" * 800]

    def collect() -> int:
        reports.recv_multipart()
        return 1

    try:
        fleet = Fleet(members(count), task)
        return run(fleet, count, lambda _: signals.send_multipart(message), collect, lambda: report_bytes)
    finally:
        signals.close()
        reports.close()
        context.term()


def run(
    fleet: Fleet, count: int, send: Callable[[int], object], collect: Callable[[], int], size: Callable[[], int]
) -> Measured:
    """Send signals one after the other, each after all reports of the one before."""
    fleet.wait_until_ready()
    _collect(count, collect)  # the hosts' hellos
    time.sleep(1)  # the last subscriptions arrive
    send(1)
    _collect(count, collect)  # warm caches: the first signal parses every key
    agents, controller, seconds = fleet.cpu_seconds(), time.process_time(), []
    for seq in range(2, SIGNALS + 2):
        began = time.perf_counter()
        send(seq)
        _collect(count, collect)
        seconds.append(time.perf_counter() - began)
    work = SIGNALS * count
    controller_cpu = (time.process_time() - controller) / work
    agent_cpu = (fleet.cpu_seconds() - agents) / work
    fleet.stop()
    return Measured(statistics.median(seconds), controller_cpu, agent_cpu, size())


def _collect(count: int, collect: Callable[[], int]) -> None:
    while count > 0:
        count -= collect()


def _server(context: zmq.Context[zmq.Socket[bytes]], kind: int, transport: TransportKey) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.linger = 0
    socket.rcvtimeo = 30_000
    socket.curve_server = True
    socket.curve_secretkey = bytes.fromhex(transport.secret)
    socket.bind("tcp://127.0.0.1:*")
    return socket


def _port(socket: zmq.Socket[bytes]) -> int:
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
