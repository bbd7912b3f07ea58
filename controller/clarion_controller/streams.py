"""The deployments that still matter, in memory: of each stream the newest, and the last good one before it.

The newest good deployment that is for the whole environment stays, so that a host that
joins later is brought to it. Everything older is in the log.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from clarion_controller.decide import Moment, decide
from clarion_controller.sign import MAX_AHEAD, next_seq
from clarion_controller.state.apply import apply, begin
from clarion_controller.state.events import AnyEvent, DeploymentAccepted
from clarion_controller.state.log import StateLog
from clarion_controller.state.rollout_state import RolloutState
from clarion_controller.state.rows import StoredDeployment
from clarion_protocol import dsse
from clarion_protocol.documents import Deployment, Head, read
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.words import DeploymentStatus, Verb

MAX_LOOKED_AT = 50
# Streams that only hosts know of: those of a log that was lost, or the inventions of one that lies.
MAX_CLAIMED = 1_000

_log = structlog.get_logger(__name__)

_GOOD = {DeploymentStatus.SUCCEEDED, DeploymentStatus.DEGRADED}


@dataclass(frozen=True)
class Sent:
    """A signal that is still valid: its envelope, number, whom it is for, and until when it may be sent again."""

    verb: Verb
    envelope: bytes
    seq: int
    hosts: frozenset[str]
    at: float
    until: float


@dataclass
class Walk:
    """One deployment on its way: its state, the envelope that deployers signed, the signals it has out."""

    state: RolloutState
    envelope: bytes
    sent: dict[tuple[Verb, float], Sent] = field(default_factory=dict)
    _rests_in: RolloutState | None = None

    def decide(self, moment: Moment) -> list[AnyEvent]:
        """Return what is to be done now. One that is at rest costs nothing: there may be a hundred of them."""
        if self._rests_in is self.state:
            return []
        actions = decide(self.state, moment)
        if not actions and self.state.is_at_rest:
            self._rests_in = self.state
        return actions


class Streams:
    """All streams of the cluster, and the numbers that were used in them."""

    def __init__(self, log: StateLog) -> None:
        self._log = log
        self._walks: dict[str, list[Walk]] = {}
        self._heads: dict[str, int] = {}
        self._signals: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._claimed: dict[str, Head] = {}
        for stream, (seq, signal_seq) in log.streams().items():
            self._heads[stream], self._signals[stream] = seq, signal_seq
            self._walks[stream] = list(self._load(stream))

    def walks(self) -> Iterator[Walk]:
        """Return every deployment that still matters."""
        for walks in self._walks.values():
            yield from walks

    def of(self, environment: str) -> Iterator[list[Walk]]:
        """Return the deployments that still matter in an environment, stream by stream, newest first."""
        for walks in self._walks.values():
            if walks and walks[0].state.deployment.environment == environment:
                yield walks

    def newest(self, stream: str) -> Walk | None:
        """Return a stream's newest deployment."""
        return next(iter(self._walks.get(stream, ())), None)

    def find(self, deployment: str) -> Walk | None:
        """Return a deployment that still matters, by id."""
        return next((walk for walk in self.walks() if walk.state.deployment.id == deployment), None)

    def add(self, walk: Walk) -> None:
        """Take on a new deployment as the newest of its stream."""
        deployment = walk.state.deployment
        older = self._walks.get(deployment.stream, [])
        self._heads[deployment.stream] = deployment.seq
        self._walks[deployment.stream] = [walk, *_still_needed(older)]

    def next_deployment_seq(self, stream: str) -> int:
        """Return the number that the next deployment of a stream has to have."""
        claimed = self._claimed.get(stream, Head()).deployment_seq
        believed = claimed if claimed <= MAX_AHEAD else 0
        return max(self._heads.get(stream, 0), believed) + 1

    def number_signal(self, stream: str, now: float) -> int:
        """Return a number for a signal; the caller records it before the signal leaves."""
        claimed = self._claimed.get(stream, Head()).signal_seq
        self._signals[stream] = next_seq(self._signals.get(stream, 0), claimed, now)
        return self._signals[stream]

    def show(self, stream: str, signal_seq: int) -> None:
        """Let beacons say that this signal was broadcast; one for a single host is not shown to all."""
        self._shown[stream] = signal_seq

    def heads(self, environment: str) -> dict[str, Head]:
        """Return what a beacon says of an environment's streams."""
        streams = [walks[0].state.deployment.stream for walks in self.of(environment)]
        return {stream: Head(self._heads[stream], self._shown.get(stream, 0)) for stream in streams}

    def hear_claims(self, environment: str, heads: Mapping[str, Head]) -> None:
        """Take note of what a host has accepted: after a restored backup, hosts know more than the log."""
        for stream, head in heads.items():
            if stream.startswith(f"{environment}/"):
                seen, known = self._claimed.get(stream, Head()), self._heads.get(stream, 0)
                if stream not in self._claimed and stream not in self._heads and len(self._claimed) >= MAX_CLAIMED:
                    continue
                if head.deployment_seq > known >= seen.deployment_seq:
                    _log.warning("stream.forgotten", stream=stream, known=known, claimed=head)
                self._claimed[stream] = Head(
                    max(seen.deployment_seq, head.deployment_seq), max(seen.signal_seq, head.signal_seq)
                )

    def _load(self, stream: str) -> Iterator[Walk]:
        newest, *older = self._log.history(stream, limit=MAX_LOOKED_AT)
        yield self._walk(newest)
        if newest.status in _GOOD and document_in(newest.envelope).targets.all:
            return
        candidates = [stored for place, stored in enumerate(older) if stored.status in _GOOD or not place]
        yield from _still_needed([self._walk(stored) for stored in candidates])

    def _walk(self, stored: StoredDeployment) -> Walk:
        return Walk(replay(stored, self._log.events_of(stored.id)), stored.envelope)


def replay(stored: StoredDeployment, happened: list[AnyEvent]) -> RolloutState:
    """Return the state that a deployment's events lead to."""
    accepted, *rest = happened
    if not isinstance(accepted, DeploymentAccepted):
        raise TypeError(f"the log of {stored.id} begins with {accepted!r}")
    return apply(begin(document_in(stored.envelope), accepted), *rest)


def document_in(envelope: bytes) -> Deployment:
    """Return the deployment in an envelope, verified or not: who has not verified it may only look.

    Raises:
        BadEnvelope: there is no deployment in it.
    """
    outer = dsse.parse(envelope)
    if outer.payloadType != Deployment.payload_type:
        raise BadEnvelope(f"payload type {outer.payloadType[:100]!r} where a deployment is due")
    try:
        payload = base64.b64decode(outer.payload, validate=True)
    except ValueError as error:
        raise BadEnvelope(f"not base64: {error}") from error
    return read(payload, Deployment)


def _still_needed(walks: list[Walk]) -> Iterator[Walk]:
    """Return the one before the newest (its hosts may still report), and the good ones back to one for everybody."""
    for place, walk in enumerate(walks):
        is_good = walk.state.status in _GOOD
        if is_good or not place:
            yield walk
        if is_good and walk.state.deployment.targets.all:
            return
