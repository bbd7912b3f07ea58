"""Signals out (XPUB), reports in and answers out (ROUTER), on a thread of its own.

- It holds the transport key and no signing key: what it sends was signed elsewhere, what it
  receives is only sorted, never believed. So it can move to a process of its own.
- A peer is who its CURVE key says (the User-Id of every single message), never who its
  routing id says; a key that was revoked is ignored from its next message on.
- Nothing that a peer sends ends the loop; what is too big, too much or unknown is counted
  and dropped.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
import zmq

from clarion_controller.gateway.mailbox import Mailbox
from clarion_controller.gateway.sockets import Listening, listen, port_of
from clarion_controller.gateway.zap import Doorkeeper
from clarion_protocol import wire
from clarion_protocol.errors import BadConfig
from clarion_protocol.wire import Down, Up

MAX_BATCH = 256
# Above what an agent with a full outbox sends at once, so only a broken one meets it.
MAX_MESSAGES_PER_SECOND = 512
_MAX_BODY = {Up.REPORT: wire.MAX_FRAME_BYTES, Up.ASK: wire.MAX_SMALL_BODY}
_KINDS = {kind.value: kind for kind in Up}

_log = structlog.get_logger(__name__)


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
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._mailbox = Mailbox()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self.dropped: Counter[str] = Counter()

    def start(self) -> None:
        """Bind both ports and begin.

        Raises:
            BadConfig: a port cannot be bound.
        """
        self._doorkeeper = Doorkeeper(self._context, {wire.ZAP_DOMAIN: self._is_enrolled})
        self._doorkeeper.start()
        try:
            self._signals = self._listen(zmq.XPUB, self._settings.signal_port)
            self._reports = self._listen(zmq.ROUTER, self._settings.report_port)
        except BadConfig:
            self._close()
            raise
        self.signal_port, self.report_port = port_of(self._signals), port_of(self._reports)
        self._thread.start()

    def stop(self) -> None:
        """Close all sockets and end all threads; harmless when repeated."""
        if self._is_stopping or not self._thread.is_alive():
            return
        self._mailbox.post(self._end)
        self._thread.join()
        self._close()

    def broadcast(self, topic: str, envelope: bytes) -> None:
        """Send a signed envelope to every agent that subscribes to `topic` (an environment). Any thread."""
        self._mailbox.post(lambda: self._publish(topic.encode(), envelope))

    def send(self, host: str, kind: Down, *bodies: bytes) -> None:
        """Send to one host if it is connected; otherwise it asks when it comes back. Any thread."""
        self._mailbox.post(lambda: self._send(host, [kind.value, *bodies]))

    def forget(self, host: str) -> None:
        """Send nothing more to a host that is no longer enrolled. Any thread."""
        self._mailbox.post(lambda: self._lines.pop(host, None))

    def connected(self) -> set[str]:
        """Return the hosts that were heard of within the settings' `silence`. Any thread."""
        since = time.monotonic() - self._settings.silence
        return {host for host, line in list(self._lines.items()) if line.seen >= since}

    def _listen(self, kind: int, port: int) -> zmq.Socket[bytes]:
        settings = self._settings
        socket = listen(self._context, kind, Listening(settings.bind, port, settings.secret, wire.ZAP_DOMAIN))
        self._sockets.append(socket)
        return socket

    def _is_enrolled(self, transport_key: str) -> bool:
        return self._hosts.host_of(transport_key) is not None

    def _run(self) -> None:
        turns = {self._mailbox.fileno(): self._empty_mailbox, self._signals: self._skip, self._reports: self._collect}
        poller = zmq.Poller()
        for source in turns:
            poller.register(source, zmq.POLLIN)
        while not self._is_stopping:
            for source, _ in poller.poll():
                self._take(turns[source])

    def _close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._context.term()
        self._doorkeeper.join()
        self._mailbox.close()

    def _empty_mailbox(self) -> None:
        for letter in self._mailbox.letters():
            self._take(letter)

    def _take(self, turn: Callable[[], object]) -> None:
        try:
            turn()
        except Exception:  # noqa: BLE001 (outermost loop: one bad message must not deafen the fleet)
            self.dropped["fault"] += 1
            _log.exception("gateway.fault")

    def _end(self) -> None:
        self._is_stopping = True

    def _skip(self) -> None:
        """Read and forget subscriptions: unread they would pile up, and whom they serve is libzmq's matter."""
        for _ in range(MAX_BATCH):
            if not _receive(self._signals):
                return

    def _collect(self) -> None:
        batch: list[Inbound] = []
        for _ in range(MAX_BATCH):
            frames = _receive(self._reports)
            if not frames:
                break
            inbound = self._sort(frames)
            if inbound:
                batch.append(inbound)
        if batch:
            self._deliver(batch)

    def _sort(self, frames: Sequence[zmq.Frame]) -> Inbound | None:
        host = self._hosts.host_of(_user_id(frames[0]))
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


def _receive(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """Return the first frames of the next message, or nothing. A bomb of frames is read, but never kept."""
    try:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return []
    frames = [frame]
    while frame.more:
        frame = socket.recv(copy=False)
        if len(frames) < 4:
            frames.append(frame)
    return frames


def _user_id(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""
