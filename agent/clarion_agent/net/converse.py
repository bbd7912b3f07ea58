"""What is said and heard on one line, and when it counts as dead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import zmq

from clarion_agent.halves import Core
from clarion_agent.net.grumble import Grumble
from clarion_agent.net.line import Line
from clarion_agent.net.outbox import Outbox
from clarion_agent.net.sockets import receive
from clarion_agent.net.timer import Timer
from clarion_protocol import dsse, strict_json, wire
from clarion_protocol.documents import Beacon
from clarion_protocol.errors import BadEnvelope, ClarionError
from clarion_protocol.wire import Ack, Ask, Down, Up

# A handshake that has just succeeded takes messages a moment later.
_SOON = 0.05
# So that one busy socket does not keep the other waiting.
MAX_BATCH = 64


@dataclass(frozen=True)
class Rhythm:
    """How often things happen, in seconds; after `patience` silent intervals a line counts as dead."""

    beacon: float = wire.BEACON_INTERVAL_S
    poll: float = wire.POLL_INTERVAL_S
    heartbeat: float = wire.HEARTBEAT_REPORT_S
    repeat: float = 10.0
    handshake: float = 2 * wire.HANDSHAKE_IVL_MS / 1000
    shortest_pause: float = 1.0
    longest_pause: float = 20.0
    patience: int = 3


@dataclass(frozen=True)
class Parties:
    """Between whom the line passes things on."""

    core: Core
    outbox: Outbox
    grumble: Grumble
    environment: str


class Conversation:
    """One line's life. `last_beacon` is the UTC time at which it heard a valid beacon, 0 before the first."""

    def __init__(self, line: Line, parties: Parties, rhythm: Rhythm) -> None:
        self._line = line
        self._parties = parties
        self._rhythm = rhythm
        self._handshake = Timer(rhythm.handshake)
        self._beacon = Timer(rhythm.beacon * rhythm.patience)
        self._answer = Timer(rhythm.poll * rhythm.patience)
        self._repeat = Timer(rhythm.repeat)
        self._heartbeat, self._ask = Timer(rhythm.heartbeat), Timer(rhythm.poll)
        self._heartbeat.hasten(0)
        self._ask.hasten(0)
        self.last_beacon = 0.0

    def why_over(self) -> str | None:
        """Return why this line has ended, if it has."""
        if trouble := self._line.trouble():
            return trouble
        if not self._line.is_up:
            return "the handshake takes too long" if self._handshake.is_due else None
        if self._beacon.is_due:
            return f"no valid beacon in {self._rhythm.patience} intervals"
        if self._answer.is_due:
            return f"no answer to {self._rhythm.patience} questions"
        return None

    def seconds_to_next(self) -> float:
        """Return how long nothing is due if nothing is heard."""
        if not self._line.is_up:
            return self._handshake.left
        if not self._line.can_speak:
            return _SOON
        timers = [self._beacon, self._answer, self._heartbeat, self._ask]
        return min(timer.left for timer in [*timers, *([self._repeat] if len(self._parties.outbox) else [])])

    def speak(self) -> None:
        """Say what is due: reports first and in order, then a heartbeat, then a question."""
        if not self._line.can_speak:
            return
        self._send_reports()
        if self._heartbeat.is_due:
            self._heartbeat.restart()
            if heartbeat := self._parties.outbox.heartbeat():
                self._line.reports.send(Up.REPORT.value, heartbeat)
        if self._ask.is_due:
            self._ask.restart()
            self._line.reports.send(Up.ASK.value, strict_json.dumps(Ask(self._parties.core.heads())))

    def hear(self) -> None:
        """Take in what has arrived."""
        for frames in arrived(self._line.signals.socket, 2):
            if len(frames) == 2 and frames[0] == self._parties.environment.encode():
                self._offer(frames[1])
        for kind, *bodies in arrived(self._line.reports.socket, 1 + wire.MAX_STATE_ENVELOPES):
            self._on_answer(kind, bodies)

    def _send_reports(self) -> None:
        if self._repeat.is_due:
            self._line.sent = 0
            self._repeat.restart()
        for seq, envelope in self._parties.outbox.waiting(after=self._line.sent):
            if not self._line.reports.send(Up.REPORT.value, envelope):
                return
            self._line.sent = seq

    def _on_answer(self, kind: bytes, bodies: list[bytes]) -> None:
        if kind == Down.STATE.value:
            self._answer.restart()
            for envelope in bodies:
                self._offer(envelope)
        elif kind == Down.ACK.value and len(bodies) == 1:
            self._on_ack(bodies[0])

    def _on_ack(self, body: bytes) -> None:
        try:
            ack = strict_json.decode(body, Ack, max_bytes=wire.MAX_SMALL_BODY)
        except BadEnvelope as error:
            self._parties.grumble.about(error)
            return
        self._repeat.restart()
        self._parties.outbox.acknowledge(ack.seq)

    def _offer(self, envelope: bytes) -> None:
        try:
            self._parties.core.offer(envelope)
        except ClarionError as error:
            self._parties.grumble.about(error)
            return
        # Only now that the core has believed it does its type say what it is.
        if dsse.parse(envelope).payloadType == Beacon.payload_type:
            self._on_beacon()

    def _on_beacon(self) -> None:
        self.last_beacon = time.time()
        self._beacon.restart()
        if self._parties.core.missed():
            self._ask.hasten(self._rhythm.beacon / 30)


def arrived(socket: zmq.Socket[bytes], limit: int) -> Iterator[list[bytes]]:
    """Yield the messages that have arrived, of each its first `limit` frames."""
    return islice(iter(partial(receive, socket, limit), []), MAX_BATCH)
