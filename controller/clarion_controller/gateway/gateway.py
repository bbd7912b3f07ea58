"""Signals out (XPUB), reports in and answers out (ROUTER), on a thread of its own.

- It holds the transport key and no signing key: what it sends was signed elsewhere, what it
  receives is only sorted, never believed. So it can move to a process of its own.
- A peer is who its CURVE key says (the User-Id of every single message), never who its
  routing id says; a key that was revoked is ignored from its next message on.
- Nothing that a peer sends ends the loop; what is too big, too much or unknown is counted
  and dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

import zmq

from clarion_controller.gateway.front import Front
from clarion_controller.gateway.sockets import Listening, port_of, receive, user_id
from clarion_protocol import wire
from clarion_protocol.errors import BadConfig
from clarion_protocol.wire import Down, Up

MAX_BATCH = 256
# Above what an agent with a full outbox sends at once, so only a broken one meets it.
MAX_MESSAGES_PER_SECOND = 512
_MAX_BODY = {Up.REPORT: wire.MAX_FRAME_BYTES, Up.ASK: wire.MAX_SMALL_BODY}
_KINDS = {kind.value: kind for kind in Up}


class HostDirectory(Protocol):
    """Who is enrolled. Asked from the gateway's threads for every handshake and message: in memory, thread-safe."""

    def host_of(self, transport_key: str) -> str | None:
        """Return the id of the host that owns this CURVE public key (hex), or None."""


@dataclass(frozen=True)
class Inbound:
    """One message of a host that is enrolled; its body is neither parsed nor believed yet."""

    host: str
    kind: Up
    body: bytes


@dataclass(frozen=True)
class GatewaySettings:
    """Where to listen (port 0: any), the CURVE secret (32 bytes), how long a silent host counts as connected (s)."""

    bind: str
    signal_port: int
    report_port: int
    secret: bytes
    silence: float = 3 * wire.HEARTBEAT_REPORT_S


@dataclass
class _Line:
    """The way back to one host, and how much it has sent in the current second."""

    routing_id: bytes
    seen: float
    second: int = 0
    count: int = 0


Deliver = Callable[[list[Inbound]], None]


class Gateway:
    """The controller's face to its agents. `deliver` is called on the gateway's thread and must return at once."""

    def __init__(self, settings: GatewaySettings, hosts: HostDirectory, deliver: Deliver) -> None:
        self._settings = settings
        self._hosts = hosts
        self._deliver = deliver
        self._lines: dict[str, _Line] = {}
        self._front = Front("gateway", {wire.ZAP_DOMAIN: self._is_enrolled})
        self.dropped: Counter[str] = Counter()

    def start(self) -> None:
        """Bind both ports and begin.

        Raises:
            BadConfig: a port cannot be bound.
        """
        try:
            self._signals = self._listen(zmq.XPUB, self._settings.signal_port, self._skip)
            self._reports = self._listen(zmq.ROUTER, self._settings.report_port, self._collect)
        except BadConfig:
            self._front.stop()
            raise
        self.signal_port, self.report_port = port_of(self._signals), port_of(self._reports)
        self._front.start()

    def stop(self) -> None:
        """Close all sockets and end all threads; harmless when repeated."""
        self._front.stop()

    def broadcast(self, topic: str, envelope: bytes) -> None:
        """Send a signed envelope to every agent that subscribes to `topic` (an environment). Any thread."""
        self._front.post(lambda: self._publish(topic.encode(), envelope))

    def send(self, host: str, kind: Down, *bodies: bytes) -> None:
        """Send to one host if it is connected; otherwise it asks when it comes back. Any thread."""
        self._front.post(lambda: self._send(host, [kind.value, *bodies]))

    def forget(self, host: str) -> None:
        """Send nothing more to a host that is no longer enrolled. Any thread."""
        self._front.post(lambda: self._lines.pop(host, None))

    def connected(self) -> set[str]:
        """Return the hosts that were heard of within the settings' `silence`. Any thread."""
        since = time.monotonic() - self._settings.silence
        return {host for host, line in list(self._lines.items()) if line.seen >= since}

    def _listen(self, kind: int, port: int, turn: Callable[[zmq.Socket[bytes]], None]) -> zmq.Socket[bytes]:
        at = Listening(self._settings.bind, port, self._settings.secret, wire.ZAP_DOMAIN)
        return self._front.listen(kind, at, turn)

    def _is_enrolled(self, transport_key: str) -> bool:
        return self._hosts.host_of(transport_key) is not None

    def _skip(self, signals: zmq.Socket[bytes]) -> None:
        """Read and forget subscriptions: unread they would pile up, and whom they serve is libzmq's matter."""
        for _ in range(MAX_BATCH):
            if not receive(signals):
                return

    def _collect(self, reports: zmq.Socket[bytes]) -> None:
        arrived = iter(partial(receive, reports), [])
        batch = [inbound for frames in islice(arrived, MAX_BATCH) if (inbound := self._sort(frames))]
        if batch:
            self._deliver(batch)

    def _sort(self, frames: Sequence[zmq.Frame]) -> Inbound | None:
        host = self._hosts.host_of(user_id(frames[0]))
        kind = _KINDS.get(frames[1].bytes) if len(frames) == 3 else None
        if host is None:
            self.dropped["revoked"] += 1
        elif not self._is_within_limits(host, frames[0].bytes):
            self.dropped["too_many"] += 1
        elif kind is None or len(frames[2]) > _MAX_BODY[kind]:
            self.dropped["malformed"] += 1
        else:
            return Inbound(host, kind, frames[2].bytes)
        return None

    def _is_within_limits(self, host: str, routing_id: bytes) -> bool:
        now = time.monotonic()
        line = self._lines.get(host)
        if line is None:
            line = self._lines[host] = _Line(routing_id, now)
        line.routing_id, line.seen = routing_id, now
        if line.second != int(now):
            line.second, line.count = int(now), 0
        line.count += 1
        return line.count <= MAX_MESSAGES_PER_SECOND

    def _publish(self, topic: bytes, envelope: bytes) -> None:
        self._signals.send_multipart([topic, envelope], zmq.NOBLOCK)

    def _send(self, host: str, frames: Sequence[bytes]) -> None:
        line = self._lines.get(host)
        if line is None:
            return
        try:
            self._reports.send_multipart([line.routing_id, *frames], zmq.NOBLOCK)
        except zmq.Again:
            self.dropped["slow"] += 1
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            del self._lines[host]
