"""One signal to every host and a verified report back from each, beside the same over bare sockets.

- The floor is what pyzmq with CURVE needs for as many bytes between as many processes: nothing is signed or checked.
- Between the two lies the least that any program has to do: bare sockets, and of each host one signature checked and
  one made, which is checked here. No envelope, no JSON.

All ways are measured in the same run, in turns, on the machine that also is all hosts.
"""

from __future__ import annotations

import queue
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import zmq
from tests.bench.controller import Controller
from tests.bench.fleet import Fleet, members
from tests.bench.row import Row
from tests.bench.simulated_hosts import SIGNATURE, UNSIGNED, clarion_answer, split

from clarion_controller.gateway.gateway import Gateway, GatewaySettings, Inbound
from clarion_protocol.keys import SigningKey, public_key
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.wire import Up

SIGNALS = 9


@dataclass(frozen=True)
class Way:
    """One way to signal a fleet: whom, how, and how to take in some of what comes of it."""

    fleet: Fleet
    send: Callable[[int], object]
    collect: Callable[[], int]


@dataclass
class Measured:
    """Of each signal: seconds until the last report, CPU seconds of the controller and of all hosts."""

    seconds: list[float] = field(default_factory=list)
    controller: list[float] = field(default_factory=list)
    agents: list[float] = field(default_factory=list)

    @property
    def ms(self) -> float:
        """Milliseconds from a signal to the last report."""
        return statistics.median(self.seconds) * 1e3


def measure(count: int) -> list[Row]:
    """Return the rows for a fleet of `count` hosts."""
    controller = Controller(members(count))
    with ExitStack() as stack:
        ways = [stack.enter_context(clarion(controller)), *stack.enter_context(bare(controller))]
        ours, signed, floor = run(ways, count)

    def row(name: str, used: Callable[[Measured], list[float]], of: Measured = ours) -> Row:
        value, least = (statistics.median(used(each)) / count * 1e6 for each in (of, floor))
        return Row(name, count, value, "us", least)

    def both(measured: Measured) -> list[float]:
        return [sum(pair) for pair in zip(measured.controller, measured.agents, strict=True)]

    return [
        Row("signal to all verified reports", count, ours.ms, "ms", floor.ms),
        Row("the same, bare sockets and signatures", count, signed.ms, "ms", floor.ms),
        row("controller CPU per host and signal", lambda measured: measured.controller),
        row("agent CPU per host and signal", lambda measured: measured.agents),
        row("CPU of both per host and signal", both),
        row("the same, bare sockets and signatures", both, signed),
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


@contextmanager
def clarion(controller: Controller) -> Iterator[Way]:
    """Run the gateway, the trust code and the agent's sockets."""
    arrived: queue.SimpleQueue[list[Inbound]] = queue.SimpleQueue()
    settings = GatewaySettings("127.0.0.1", 0, 0, bytes.fromhex(controller.transport.secret))
    gateway = Gateway(settings, controller, arrived.put)
    gateway.start()

    def collect() -> int:
        batch = arrived.get(timeout=30)
        for inbound in batch:
            if inbound.kind is Up.REPORT:
                controller.verify(inbound)
        return len(batch)

    def send(seq: int) -> None:
        gateway.broadcast("production", controller.signal(seq))

    try:
        fleet = Fleet(controller.hosts, controller.task("clarion", gateway.signal_port, gateway.report_port))
        yield Way(fleet, send, collect)
        fleet.stop()
    finally:
        gateway.stop()


@contextmanager
def bare(controller: Controller) -> Iterator[tuple[Way, Way]]:
    """Run bare sockets, where any key is let in and nothing is read: with signatures, and without."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    signals, reports = (_server(context, kind, controller.transport) for kind in (zmq.PUB, zmq.ROUTER))
    task = controller.task("bare", _port(signals), _port(reports))
    host, signal = controller.hosts[0], controller.signal(1)
    report = clarion_answer(task, host.host, host.sign)(signal)
    length = len(signal) - SIGNATURE
    keys = {each.host.encode(): public_key(each.sign.public_hex) for each in controller.hosts}

    def send(_: int) -> None:
        signals.send_multipart([b"production", UNSIGNED + b"x" * length])

    def send_signed(seq: int) -> None:
        body = str(seq).encode().ljust(length)
        signals.send_multipart([b"production", controller.key.sign(body) + body])

    def collect() -> int:
        reports.recv_multipart()
        return 1

    def check() -> int:
        signature, body = split(reports.recv_multipart()[-1])
        if not keys[body[:32]].has_signed(signature, body):
            raise SystemExit("a report over bare sockets is not signed")
        return 1

    try:
        fleet = Fleet(controller.hosts, {**task, "report_bytes": str(len(report))})
        yield Way(fleet, send_signed, check), Way(fleet, send, collect)
        fleet.stop()
    finally:
        signals.close()
        reports.close()
        context.term()


def run(ways: Sequence[Way], count: int) -> list[Measured]:
    """Send signals each way in turns, each after all reports of the one before."""
    # Of ways that share a fleet the last, which is the one that reads nothing, takes in the hosts' hellos.
    for fleet, collect in {way.fleet: way.collect for way in ways}.items():
        fleet.wait_until_ready()
        _collect(count, collect)
    time.sleep(1)  # the last subscriptions arrive
    for way in ways:
        _measure(way, 1, count, Measured())  # warm caches: the first signal parses every key
    measured = [Measured() for _ in ways]
    for seq in range(2, SIGNALS + 2):
        for way, each in zip(ways, measured, strict=True):
            _measure(way, seq, count, each)
    return measured


def _measure(way: Way, seq: int, count: int, measured: Measured) -> None:
    agents, controller, began = way.fleet.cpu_seconds(), time.process_time(), time.perf_counter()
    way.send(seq)
    _collect(count, way.collect)
    measured.seconds.append(time.perf_counter() - began)
    measured.controller.append(time.process_time() - controller)
    measured.agents.append(way.fleet.cpu_seconds() - agents)


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
