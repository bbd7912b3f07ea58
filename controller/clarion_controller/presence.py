"""Which agents are lost and which are back, deployment or not: events for the record, never one for a heartbeat.

- Lost is who was not heard from for `unreachable_after` while this controller listened: after its start, and after
  its machine slept, nobody is lost before that time has passed once more.
- Who was lost already before a start is known from the record, and is not lost again.
- Who was revoked is not waited for, and who has left the fleet is not lost any more: an autoscaler took it away. That
  is recorded of who was lost, because no deployment may have a part in it and say so.
- All of one moment are recorded together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from clarion_controller.matching import Member
from clarion_controller.rollout import DEAF_AFTER, Rollouts
from clarion_controller.state.events import AgentBack, AgentLost, AnyEvent, HostRemoved, HostRevoked
from clarion_controller.state.log import Batch, StateLog
from clarion_controller.state.roster import Host, Roster
from clarion_protocol.errors import ClarionError

LOOK_EVERY_S = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sight:
    """What is seen at one moment, in UTC seconds: who is enrolled, who was heard lately, since when one listens."""

    now: float
    listening_since: float
    unreachable_after: float
    hosts: Iterable[Host]
    is_connected: Callable[[str], bool]
    is_in_fleet: Callable[[Host], bool]


def presence(sight: Sight, lost: Mapping[str, float]) -> list[AnyEvent]:
    """Return who is lost now, who is back, who is gone; `lost` is who was before, by id, and when it was last heard."""
    may_miss = sight.now - sight.listening_since > sight.unreachable_after
    found: list[AnyEvent] = []
    for host in sight.hosts:
        if sight.is_connected(host.id):
            if host.id in lost:
                found.append(_event(AgentBack, host, sight.now, lost[host.id]))
        elif host.id in lost:
            if not sight.is_in_fleet(host):
                found.append(HostRemoved(at=sight.now, host=host.id))
        elif may_miss and _is_silent(host, sight) and sight.is_in_fleet(host):
            found.append(_event(AgentLost, host, sight.now, _last_heard(host, sight)))
    return found


def lost_in(events: Iterable[AnyEvent]) -> dict[str, float]:
    """Return who is lost after `events`, in their order, and when each was last heard."""
    lost: dict[str, float] = {}
    for event in events:
        if isinstance(event, AgentLost):
            lost[event.host] = event.since
        elif isinstance(event, (AgentBack, HostRevoked, HostRemoved)):
            lost.pop(event.host, None)
    return lost


def _is_silent(host: Host, sight: Sight) -> bool:
    return sight.now - _last_heard(host, sight) > sight.unreachable_after


def _last_heard(host: Host, sight: Sight) -> float:
    # Who has just joined may have to start first.
    heard = max(host.last_seen or 0.0, host.joined_at)
    # What is still to come was written before the clock was set back.
    return heard if heard <= sight.now else sight.listening_since


def _event(kind: type[AgentLost] | type[AgentBack], host: Host, now: float, since: float) -> AnyEvent:
    return kind(at=now, host=host.id, name=host.name, environment=host.environment, since=since)


@dataclass
class Presence:
    """Looks every now and then, and records what has changed; `members` says who belongs to an environment now."""

    log: StateLog
    roster: Roster
    rollouts: Rollouts
    members: Callable[[str], Sequence[Member]]
    unreachable_after: float
    clock: Callable[[], float] = time.time
    _lost: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listening_since = self._looked_at = self.clock()

    async def run(self) -> None:
        """Look until cancelled; a look that fails is taken again."""
        is_known = False
        while True:
            try:
                if not is_known:
                    await self.remember()
                    is_known = True
                await self.look()
            except Exception:  # noqa: BLE001 (outermost loop: a full disk must not end the controller)
                _log.exception("presence.not_recorded")
            await asyncio.sleep(LOOK_EVERY_S)

    async def remember(self) -> None:
        """Know from the record who was lost before."""
        kinds = (AgentLost, AgentBack, HostRevoked, HostRemoved)
        self._lost = lost_in(await asyncio.to_thread(self.log.events_of_kinds, *kinds))

    async def look(self) -> None:
        """Record who is lost or back since the last look."""
        now = self.clock()
        self._note_sleep(now)
        events = presence(self._sight(now), self._lost)
        if not events:
            return
        # The disk is waited for elsewhere, not on the loop.
        await asyncio.to_thread(self.log.record, Batch([(None, event) for event in events]))
        for event in events:
            self._follow(event)

    def _note_sleep(self, now: float) -> None:
        gap, self._looked_at = now - self._looked_at, now
        if abs(gap) > DEAF_AFTER:
            self._listening_since = now

    def _sight(self, now: float) -> Sight:
        expected: dict[str, set[str] | None] = {}

        def is_in_fleet(host: Host) -> bool:
            if host.environment not in expected:
                expected[host.environment] = self._expected(host.environment)
            known = expected[host.environment]
            return known is None or host.id in known

        hosts = [host for name in self.roster.environments() for host in self.roster.of(name)]
        return Sight(
            now=now,
            listening_since=self._listening_since,
            unreachable_after=self.unreachable_after,
            hosts=hosts,
            is_connected=self.rollouts.is_connected,
            is_in_fleet=is_in_fleet,
        )

    def _expected(self, environment: str) -> set[str] | None:
        """Return the ids of the hosts that belong to an environment now; None if nobody knows."""
        try:
            members = self.members(environment)
        except ClarionError:
            return None
        return {member.host.id for member in members if member.host and member.is_expected}

    def _follow(self, event: AnyEvent) -> None:
        if isinstance(event, AgentLost):
            self._lost[event.host] = event.since
            _log.warning("presence.lost", host=event.name, environment=event.environment)
        elif isinstance(event, AgentBack):
            self._lost.pop(event.host, None)
            _log.info("presence.back", host=event.name, environment=event.environment)
        elif isinstance(event, HostRemoved):
            self._lost.pop(event.host, None)
