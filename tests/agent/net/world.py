"""A controller's gateway and an agent's net half, joined by real sockets on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clarion_agent.net.converse import Rhythm
from clarion_agent.net.listen import Listener
from clarion_agent.net.outbox import Outbox
from clarion_controller.gateway.gateway import Gateway, GatewaySettings, Inbound
from clarion_protocol import strict_json
from clarion_protocol.documents import Beacon, Head, Report, Running, read
from clarion_protocol.dsse import open_verified, parse
from clarion_protocol.errors import ClarionError
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import Policy
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.trust import Standpoint, accept_beacon, is_behind
from clarion_protocol.wire import Ack, Down, Up

CLUSTER, HOST, ENVIRONMENT = "c" * 32, "a" * 32, "production"
FAST = Rhythm(
    beacon=0.3, poll=1.0, heartbeat=0.3, repeat=0.4, handshake=1.0, shortest_pause=0.05, longest_pause=0.3, patience=3
)


def wait_for(what: Callable[[], object], seconds: float = 15.0) -> None:
    """Return as soon as `what` is true; fail the test if that takes too long."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


@dataclass
class Core:
    """A small core half: verifies beacons with the real trust code and takes anything else as it comes."""

    policy: Policy
    taken: list[bytes] = field(default_factory=list)
    refused: list[ClarionError] = field(default_factory=list)
    own: dict[str, Head] = field(default_factory=dict)
    seen: dict[str, Head] = field(default_factory=dict)
    active: list[Running] = field(default_factory=list)

    def offer(self, envelope: bytes) -> None:
        """Take an envelope."""
        try:
            if parse(envelope).payloadType == Beacon.payload_type:
                self.seen = accept_beacon(envelope, Standpoint(HOST, self.policy, time.time())).heads
        except ClarionError as error:
            self.refused.append(error)
            raise
        self.taken.append(envelope)

    def heads(self) -> dict[str, Head]:
        """Return what it is told to have."""
        return self.own

    def missed(self) -> bool:
        """Return whether a beacon showed more."""
        return any(is_behind(self.own.get(stream, Head()), head) for stream, head in self.seen.items())

    def running(self) -> list[Running]:
        """Return what it is told to run."""
        return self.active


@dataclass
class Controller:
    """Beacons, acknowledgements and answers behind a real gateway."""

    host_key: str
    transport_public: str
    signing: SigningKey = field(default_factory=SigningKey.generate)
    transport: TransportKey = field(default_factory=TransportKey.generate)
    reports: list[Report] = field(default_factory=list)
    asked: int = 0
    state: list[bytes] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    is_acknowledging: bool = True
    is_beaconing: bool = True
    ports: tuple[int, int] = (0, 0)
    running: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The gateway, while there is one."""
        assert self.running is not None
        return self.running

    def host_of(self, transport_key: str) -> str | None:
        """Know the one host."""
        return HOST if transport_key == self.transport_public else None

    def start(self) -> None:
        """Listen, on the same ports as before."""
        settings = GatewaySettings("127.0.0.1", *self.ports, secret=bytes.fromhex(self.transport.secret))
        self.running = Gateway(settings, self, self.deliver)
        self.gateway.start()
        self.ports = (self.gateway.signal_port, self.gateway.report_port)
        threading.Thread(target=self._beacons, args=(self.gateway,), daemon=True).start()

    def stop(self) -> None:
        """Go away."""
        gateway, self.running = self.running, None
        if gateway:
            gateway.stop()

    def deliver(self, batch: list[Inbound]) -> None:
        """Answer questions and acknowledge reports."""
        for inbound in batch:
            if inbound.kind is Up.ASK:
                self.asked += 1
                self._send(Down.STATE, *self.state)
            else:
                report = read(open_verified(inbound.body, Report.payload_type, [self.host_key]), Report)
                self.reports.append(report)
                if self.is_acknowledging:
                    self._send(Down.ACK, strict_json.dumps(Ack(report.seq)))

    def beacon(self, **changes: object) -> bytes:
        """Return a signed beacon."""
        fields = {"cluster": CLUSTER, "environment": ENVIRONMENT, "time": int(time.time()), "heads": self.heads}
        return Beacon(**{**fields, **changes}).sealed(self.signing)  # type: ignore[arg-type]

    def _send(self, kind: Down, *bodies: bytes) -> None:
        if self.running:
            self.running.send(HOST, kind, *bodies)

    def _beacons(self, gateway: Gateway) -> None:
        while self.running is gateway:
            if self.is_beaconing:
                gateway.broadcast(ENVIRONMENT, self.beacon())
            time.sleep(0.1)


@dataclass
class Agent:
    """An agent's net half with its small core."""

    core: Core
    outbox: Outbox
    listener: Listener
