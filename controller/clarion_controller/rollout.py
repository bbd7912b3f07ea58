"""THE LIST: the controller's way from an order to a fleet that runs it.

    discover ─► match ─► select_targets ─► accept ─► (admit) ─► sign ─► broadcast ─╮
        ╰─────► follow_fleet ─► record ◄─ decide ◄─ collect ◄──────────────────────╯

1. `discover`        which hosts there should be            discovery.py, discover/
2. `match`           which of them runs which agent         matching.py, membership.py
3. `select_targets`  which of them are meant                select_targets.py
4. `accept`          what deployers signed                  planning.py
5. `follow_fleet`    who came and who went since            follow_fleet.py
6. `decide`          what to do next, `admit` whom          decide.py, admit.py
7. `record`          every action, before it is done        state/log.py
8. `sign`            what was recorded                      sign.py
9. `broadcast`       what was signed                        broadcast.py, gateway/
10. `collect`        what hosts say of it                   collect.py, gateway/

One task does all of this, one turn after the other; nothing else changes a deployment.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from clarion_controller.broadcast import Broadcast, Broadcaster
from clarion_controller.catch_up import Errand, errand, is_news, is_patient, own_walk
from clarion_controller.collect import Collected, collect, log_entries, moves, said_in
from clarion_controller.decide import UNREACHABLE_AFTER, Moment
from clarion_controller.follow_fleet import follow_fleet
from clarion_controller.gateway.gateway import Inbound
from clarion_controller.inbox import Inbox
from clarion_controller.matching import Member
from clarion_controller.select_targets import Selection
from clarion_controller.sign import Signer
from clarion_controller.state.apply import apply, begin
from clarion_controller.state.events import (
    AnyEvent,
    DeploymentAccepted,
    HostAdded,
    HostMoved,
    HostRemoved,
    StatusChanged,
)
from clarion_controller.state.log import Batch, StateLog
from clarion_controller.state.roster import Host, Roster
from clarion_controller.streams import Sent, Streams, Walk
from clarion_protocol import strict_json
from clarion_protocol.documents import Deployment, Head, digest_of
from clarion_protocol.errors import ClarionError
from clarion_protocol.wire import MAX_STATE_ENVELOPES, Ack, Ask, Down
from clarion_protocol.words import DeploymentStatus, HostStatus

TICK = 1.0
# Each round follows one rule in each deployment; more rounds than this is a fault of the rules.
MAX_ROUNDS = 50
# Turns that far apart (s) mean that this machine slept, or its clock was set: nobody could be heard in between.
DEAF_AFTER = 30.0

_log = structlog.get_logger(__name__)

_Order = tuple[Walk, Sequence[AnyEvent]]
_Orders = Sequence[_Order]


@dataclass(frozen=True)
class Settings:
    """What rollouts are told once: whose keys sign, what counts as silence (s), what time it is.

    `members` says who belongs to an environment now; it raises a ClarionError if nobody knows. It is asked when
    something has changed, not each turn.
    """

    signer: Signer
    members: Callable[[str], Sequence[Member]]
    unreachable_after: float = UNREACHABLE_AFTER
    clock: Callable[[], float] = time.time


class Rollouts:
    """Every rollout of one controller. All calls come from one event loop."""

    def __init__(self, settings: Settings, log: StateLog, roster: Roster, gateway: Broadcaster) -> None:
        self._settings = settings
        self._log = log
        self._roster = roster
        self._gateway = gateway
        self._changed = asyncio.Event()
        self.streams = Streams(log)
        self._out = Broadcast(settings.signer, self.streams, gateway)
        self.refused: Counter[str] = Counter()
        self._heard: dict[str, float] = {}
        self._clocks: dict[str, float] = {}
        self._listening_since = self._last_turn = self._now
        # Environments whose deployments are yet to follow their fleet; after a start, all.
        self._behind = self._all_environments()
        self._in_doubt: set[str] = set()

    @property
    def _now(self) -> float:
        return self._settings.clock()

    async def run(self, inbox: Inbox) -> None:
        """Take turns until cancelled; a turn that fails changed nothing and is taken again."""
        is_resumed, arrived = False, list[Inbound]()
        while True:
            try:
                if not is_resumed:
                    self.resume()
                    is_resumed = True
                self.turn(arrived)
            except Exception:  # noqa: BLE001 (outermost loop: a full disk must not end the controller)
                _log.exception("rollout.turn_failed")
                await asyncio.sleep(TICK)
            arrived = await inbox.take(TICK)

    def turn(self, arrived: Iterable[Inbound]) -> None:
        """Listen to what hosts said, decide, do it, answer. THE LIST."""
        now = self._now
        self._note_sleep(now)
        came = self._follow_fleets(now)
        collected = collect(arrived, self._roster, self._settings.signer.cluster, now)
        self._record_reports(collected, now)
        self._acknowledge(collected)
        self._advance(now)
        # Who came asked before it belonged here, and would not ask again until the next beacon.
        for host, ask in [*collected.asks, *((host, Ask()) for host in came)]:
            self._answer(host, ask, now)
        self._out.beacon(self._roster.environments(), now)

    def resume(self) -> None:
        """After a start, say again what hosts were told and have not followed, under fresh numbers."""
        now = self._now
        self._follow_fleets(now)
        for walk in self.streams.walks():
            state = walk.state
            errands = {errand(state, host, now) for host in state.hosts.values()}
            for wanted in sorted(filter(None, errands)):
                self._signal(walk, wanted, now)
        self._out.beacon(self._roster.environments(), now)

    def accept(self, deployment: Deployment, envelope: bytes, selection: Selection) -> Walk:
        """Take on a verified deployment: record it, end what it supersedes, and begin."""
        now = self._now
        accepted = DeploymentAccepted(
            at=now,
            stream=deployment.stream,
            digest=digest_of(deployment),
            hosts=selection.hosts,
            absent=selection.absent,
            actor=deployment.actor,
        )
        orders = list(self._superseded(deployment, accepted))
        self._log.accept(deployment, envelope, accepted, _batch(orders))
        for older, events in orders:
            older.state = apply(older.state, *events)
        walk = Walk(begin(deployment, accepted), envelope)
        self.streams.add(walk)
        self.fleet_changed(deployment.environment)
        self._gateway.broadcast(deployment.environment, envelope)
        self._advance(now)
        self._ring()
        return walk

    def order(self, walk: Walk, event: AnyEvent) -> None:
        """Do to a deployment what an operator ordered: pause, resume, abort."""
        self._record([(walk, [event])])
        self._advance(self._now)

    def host_joined(self, host: Host) -> None:
        """Have the next turn bring a new host to what runs in its environment."""
        self._heard[host.id] = self._now
        self.fleet_changed(host.environment)

    def host_left(self, host: Host) -> None:
        """Expect nothing more of a host that was taken out of the roster."""
        self.fleet_changed(host.environment)
        self._heard.pop(host.id, None)
        self._clocks.pop(host.id, None)
        left = HostRemoved(at=self._now, host=host.id)
        # At once, also while nobody knows who else belongs to the fleet.
        self._record([(walk, [left]) for walk in self.streams.walks() if host.id in walk.state.hosts])
        self._advance(self._now)

    def fleet_changed(self, environment: str) -> None:
        """Have the next turn bring an environment's deployments in line with who belongs to it."""
        self._behind.add(environment)

    def _follow_fleets(self, now: float) -> list[Host]:
        """Let who left go, and return who was brought in; what fails, or nobody knows, a later turn makes up for."""
        came: dict[str, Host] = {}
        for environment in sorted(self._behind):
            try:
                members = self._settings.members(environment)
            except ClarionError as error:
                if environment not in self._in_doubt:
                    _log.warning("rollout.fleet_unknown", environment=environment, reason=error.message)
                self._in_doubt.add(environment)
                continue
            changes = follow_fleet(self.streams.of(environment), members, now)
            self._record(changes)
            added = {event.host for _, events in changes for event in events if isinstance(event, HostAdded)}
            came.update({each.host.id: each.host for each in members if each.host and each.host.id in added})
            self._behind.discard(environment)
            self._in_doubt.discard(environment)
        return list(came.values())

    def _all_environments(self) -> set[str]:
        return self._roster.environments() | {walk.state.deployment.environment for walk in self.streams.walks()}

    def is_connected(self, host: str) -> bool:
        """Return whether a host was heard from lately."""
        return self._now - self._heard.get(host, 0.0) <= self._settings.unreachable_after

    def clock_off(self, host: str) -> float:
        """Return by how many seconds a host's clock was ahead of ours when it last told the time."""
        return self._clocks.get(host, 0.0)

    async def wait_for_change(self, patience: float) -> None:
        """Return when any deployment has changed, or after `patience` seconds."""
        try:
            await asyncio.wait_for(self._changed.wait(), patience)
        except asyncio.TimeoutError:
            return

    def _note_sleep(self, now: float) -> None:
        """Count no silence, and no deadline, from a time in which this controller did not listen."""
        gap, self._last_turn = now - self._last_turn, now
        if gap < 0:
            # Heard in what is the future now, a dead host would seem to live until then.
            self._heard = {host: at + gap for host, at in self._heard.items()}
        if abs(gap) > DEAF_AFTER:
            self._listening_since = now
            _log.warning("rollout.slept", seconds=round(gap))

    def _record_reports(self, collected: Collected, now: float) -> None:
        walks = [(walk, list(said_in(walk.state, collected.progress))) for walk in self.streams.walks()]
        orders = [(walk, moves(walk.state, said, now)) for walk, said in walks if said]
        logs = [entry for _, said in walks for entry in log_entries(said)]
        self._write(orders, Batch(_batch(orders).events, collected.words, logs))
        # Only what is recorded is remembered: a report that could not be written must count as never heard.
        self.refused.update(collected.refused)
        self._heard.update(dict.fromkeys(collected.heard, now))
        self._clocks.update(collected.clocks)
        for word in collected.words:
            self._roster.heard(word)
        for host, heads in collected.heads:
            self.streams.hear_claims(host.environment, heads)

    def _acknowledge(self, collected: Collected) -> None:
        for host, seq in collected.acks.items():
            self._gateway.send(host, Down.ACK, strict_json.dumps(Ack(seq)))

    def _advance(self, now: float) -> None:
        """Decide, record, do, until there is nothing to do."""
        moment = Moment(now, self._heard, self._settings.unreachable_after, self._listening_since, self._clocks)
        for _ in range(MAX_ROUNDS):
            decided = [(walk, walk.decide(moment)) for walk in self.streams.walks()]
            orders = [(walk, self._out.numbered(walk, actions, now)) for walk, actions in decided if actions]
            if not orders:
                return
            self._record(orders)
            for walk, actions in orders:
                self._out.carry_out(walk, actions)
        _log.error("rollout.undecided", deployments=[walk.state.deployment.id for walk, _ in orders])

    def _signal(self, walk: Walk, wanted: Errand, now: float) -> Sent:
        """Tell all hosts that have not followed once more what they were told."""
        actions = self._out.again(walk, wanted, now)
        self._record([(walk, actions)])
        self._out.carry_out(walk, actions)
        return walk.sent[wanted]

    def _answer(self, host: Host, ask: Ask, now: float) -> None:
        bodies: list[bytes] = []
        for walks in self.streams.of(host.environment):
            walk = own_walk(walks, host.id)
            if walk:
                bodies += self._news(walk, host.id, ask.heads.get(walk.state.deployment.stream, Head()), now)
        self._gateway.send(host.id, Down.STATE, *bodies[:MAX_STATE_ENVELOPES])

    def _news(self, walk: Walk, host: str, head: Head, now: float) -> list[bytes]:
        state = walk.state
        news = [walk.envelope] if head.deployment_seq < state.deployment.seq else []
        wanted = errand(state, state.hosts[host], now)
        if wanted is None or is_patient(walk.sent.get(wanted), host, head, now):
            return news
        sent = walk.sent.get(wanted)
        if sent is None or not is_news(sent, host, head, now):
            sent = self._signal(walk, wanted, now)
        return [*news, sent.envelope]

    def _superseded(
        self, deployment: Deployment, accepted: DeploymentAccepted
    ) -> Iterable[tuple[Walk, list[AnyEvent]]]:
        reason = f"deployment {deployment.seq} of {deployment.version} came after it"
        for walks in self.streams.of(deployment.environment):
            for walk in walks:
                if walk.state.deployment.stream != deployment.stream:
                    break
                if not walk.state.status.is_final:
                    changed = StatusChanged(at=accepted.at, status=DeploymentStatus.SUPERSEDED, reason=reason)
                    yield walk, [changed]
                else:
                    yield walk, _passed_on(walk, accepted, reason)

    def _record(self, orders: _Orders) -> None:
        self._write(orders, _batch(orders))

    def _write(self, orders: _Orders, batch: Batch) -> None:
        """Record first; only then let memory follow."""
        if not batch:
            return
        self._log.record(batch)
        for walk, events in orders:
            if events:
                walk.state = apply(walk.state, *events)
            if any(isinstance(event, StatusChanged) for event in events):
                self.fleet_changed(walk.state.deployment.environment)  # whoever waited for this
        if batch.events:
            self._ring()

    def _ring(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _batch(orders: _Orders) -> Batch:
    return Batch([(walk.state.deployment.id, event) for walk, events in orders for event in events])


def _passed_on(walk: Walk, accepted: DeploymentAccepted, reason: str) -> list[AnyEvent]:
    """Let stragglers of an older deployment go that a newer one takes over."""
    skipped = HostStatus.SKIPPED
    stragglers = walk.state.ids(lambda host: not host.is_settled)
    return [
        HostMoved(at=accepted.at, host=host, status=skipped, reason=reason)
        for host in stragglers
        if host in accepted.hosts and walk.state.is_open
    ]
