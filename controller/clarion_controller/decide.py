"""What to do next in a deployment: `decide(state, now, heard) -> actions`, without IO.

The rules are asked in order; the first that has something to do is followed, its actions
are recorded and applied, and all are asked again until none has.

1. Notice who is lost (silent, or a lease that ran out without a word) and who is back.
2. Halt when more failed or are lost than the plan allows, or nothing moved for too long.
3. After a halt: with `auto_rollback`, order back whoever may run the new release; without,
   stop the rest and let those in change finish.
4. While paused, take unused leases back.
5. Signal `stage` to whoever has not been told.
6. When everybody reachable has staged: give leases to as many as `admit` lets.
7. Conclude.

How a halted deployment ends: *rolled_back* if a host had switched and is on what ran before
(exit code 4), *failed* if it broke before any switch, or if a host could not go back (exit
code 1). A deployment that is done but for stragglers is *degraded*; it stays open, and
when the last straggler has been brought up to date it becomes *succeeded*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clarion_controller.admit import admit
from clarion_controller.explain import in_words, listed, wrong_clock
from clarion_controller.state.events import AnyEvent, Halted, HostBack, HostLost, Signalled, StatusChanged
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_protocol.amounts import Duration, Share
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

# A host may take its lease in the last moment, and its word needs time to arrive.
LEASE_GRACE = 5.0
UNREACHABLE_AFTER = 90.0

_MAX_QUOTED = 300
_RETREATED = {DeploymentStatus.RUNNING, DeploymentStatus.ROLLING_BACK, DeploymentStatus.ROLLED_BACK}
_BACK = {HostStatus.ROLLED_BACK, HostStatus.FAILED, HostStatus.SKIPPED, HostStatus.UNREACHABLE}


@dataclass(frozen=True)
class Moment:
    """What a decision depends on beside the state: the time, when each host was last heard, what silence means.

    `listening_since` is when the controller was started or woke up: before, it could not hear anybody.
    `clocks` says by how much (s) each host's clock is ahead of the controller's.
    """

    now: float
    heard: Mapping[str, float]
    unreachable_after: float = UNREACHABLE_AFTER
    listening_since: float = 0.0
    clocks: Mapping[str, float] = field(default_factory=dict)

    def wrong_clock(self, host: str) -> str:
        """Return what is wrong with a host's clock, or nothing."""
        return wrong_clock(self.clocks.get(host, 0.0))

    def silence(self, host: str) -> float:
        """Return for how long (s) a host was not heard from, while somebody listened."""
        return self.now - max(self.heard.get(host, 0.0), self.listening_since)

    def has_heard(self, host: str) -> bool:
        """Return whether a host was heard from since somebody listens; its oldest reports come first."""
        return self.heard.get(host, 0.0) >= self.listening_since


def decide(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """Return what is to be done now; nothing if the deployment has to wait."""
    for rule in RULES:
        if actions := rule(state, moment):
            return actions
    return []


def notice(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """Say who is lost and who is back."""
    if not (state.is_open or state.status is DeploymentStatus.ROLLING_BACK):
        return []
    found: list[AnyEvent] = []
    for id_, host in state.hosts.items():
        if host.is_lost:
            if moment.heard.get(id_, 0.0) > host.since and not moment.wrong_clock(id_):
                found.append(HostBack(at=moment.now, host=id_))
        elif _is_awaited(state, host) and (reason := _silence(id_, host, moment)):
            found.append(HostLost(at=moment.now, host=id_, reason=reason))
    return found


def halt(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """Stop giving leases when a limit of the plan is exceeded."""
    if state.is_halted or state.status is not DeploymentStatus.RUNNING:
        return []
    reason = _too_many_failed(state) or _too_many_lost(state) or _stands_still(state, moment)
    return [Halted(at=moment.now, reason=reason)] if reason else []


def retreat(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """After a halt, order back whoever may run the new release; also who comes back to the fleet only then."""
    if not state.is_halted or not state.deployment.plan.auto_rollback or state.status not in _RETREATED:
        return []
    touched = state.ids(lambda host: host.may_run_it and host.told is not Verb.ROLLBACK)
    if not touched:
        return []
    order = Signalled(at=moment.now, verb=Verb.ROLLBACK, hosts=touched, reason=state.halt)
    if state.status is not DeploymentStatus.RUNNING:
        return [order]
    return [StatusChanged(at=moment.now, status=DeploymentStatus.ROLLING_BACK, reason=state.halt), order]


def stop_the_rest(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """After a halt or an abort, tell whoever is not in change to let it be."""
    is_over = state.status in (DeploymentStatus.ABORTED, DeploymentStatus.ROLLING_BACK)
    if not is_over and not (state.is_halted and state.status is DeploymentStatus.RUNNING):
        return []
    rest = state.ids(_can_be_stopped)
    reason = state.halt or state.reason
    return [Signalled(at=moment.now, verb=Verb.ABORT, hosts=rest, reason=reason)] if rest else []


def hold(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """While paused, take back what leases are not used yet; their hosts get theirs first when it goes on."""
    if state.status is not DeploymentStatus.PAUSED:
        return []
    unused = state.ids(lambda host: host.status is HostStatus.STAGED and host.told is Verb.LEASE)
    return [Signalled(at=moment.now, verb=Verb.PAUSE, hosts=unused, reason=state.reason)] if unused else []


def stage(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """Let whoever has not been told fetch and test the release, which changes nothing that runs."""
    if not state.is_open or state.is_halted:
        return []
    untold = state.ids(lambda host: host.told is None and not host.is_settled)
    return [Signalled(at=moment.now, verb=Verb.STAGE, hosts=untold)] if untold else []


def lease(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """Give leases, once nobody who can be reached is still staging."""
    if not state.is_open or state.status is DeploymentStatus.PAUSED:
        return []
    if not state.has_begun_to_switch and state.count(lambda host: host.is_staging):
        return []
    admitted = admit(state)
    until = moment.now + state.deployment.plan.lease_timeout
    return [Signalled(at=moment.now, verb=Verb.LEASE, hosts=admitted, until=until)] if admitted else []


def conclude(state: RolloutState, moment: Moment) -> list[AnyEvent]:
    """Say how it ended, when nothing is expected of anybody any more."""
    if state.status is DeploymentStatus.ROLLING_BACK:
        ending = _end_of_retreat(state, moment)
    elif state.status is DeploymentStatus.RUNNING:
        ending = _end_of_halted(state) if state.is_halted else _end_of_walk(state)
    else:
        ending = _end_of_degraded(state)
    return [StatusChanged(at=moment.now, status=ending[0], reason=ending[1])] if ending else []


RULES: tuple[Callable[[RolloutState, Moment], list[AnyEvent]], ...] = (
    notice,
    halt,
    retreat,
    stop_the_rest,
    hold,
    stage,
    lease,
    conclude,
)

_Ending = tuple[DeploymentStatus, str]


def _is_awaited(state: RolloutState, host: HostState) -> bool:
    if state.status is DeploymentStatus.ROLLING_BACK:
        return host.told is Verb.ROLLBACK and host.status not in _BACK
    return not host.is_settled


def _silence(id_: str, host: HostState, moment: Moment) -> str:
    """Return why a host that is awaited counts as lost, or nothing."""
    # Who was brought in just now may have to start first.
    silent = min(moment.silence(id_), moment.now - host.added_at)
    if silent > moment.unreachable_after:
        return f"not heard from for {in_words(silent)}"
    if not host.status.is_in_change and (wrong := moment.wrong_clock(id_)):
        return wrong
    unused = host.status is HostStatus.STAGED and host.told is Verb.LEASE
    # A host that used it while nobody listened says so in the first word that it gets through.
    if unused and moment.has_heard(id_) and moment.now > host.lease_until + LEASE_GRACE:
        return "its lease ran out without a word from it"
    return ""


def _too_many_failed(state: RolloutState) -> str:
    failed = state.failed
    if len(failed) <= state.deployment.plan.max_failures:
        return ""
    why = f": {failed[0].reason[:_MAX_QUOTED]}" if failed[0].reason else ""
    names = listed([host.name for host in failed])
    return f"{names} failed{why} (max_failures is {state.deployment.plan.max_failures})"


def _too_many_lost(state: RolloutState) -> str:
    lost = [*state.names(lambda host: host.is_lost), *state.absent]
    allowed = Share(state.deployment.plan.max_unreachable).of(state.total)
    if len(lost) <= allowed:
        return ""
    return f"{listed(sorted(lost))} cannot be reached ({len(lost)} of {state.total}, max_unreachable allows {allowed})"


def _stands_still(state: RolloutState, moment: Moment) -> str:
    plan = state.deployment.plan
    # A bake is a wait that the plan asked for, and what moved while nobody listened is yet to be told.
    if moment.now - max(state.moved_at, moment.listening_since) <= plan.progress_deadline + plan.bake_time:
        return ""
    waited_for = state.names(lambda host: not host.is_settled and not host.is_lost)
    deadline = Duration(plan.progress_deadline)
    return f"nothing moved for {deadline} (progress_deadline), last waiting for {listed(waited_for)}"


def _can_be_stopped(host: HostState) -> bool:
    if host.told in (Verb.ABORT, Verb.ROLLBACK, None) or host.is_settled:
        return False
    return not host.status.is_in_change and not (host.is_lost and host.had_lease)


def _end_of_walk(state: RolloutState) -> _Ending | None:
    if state.count(lambda host: not host.is_settled and not host.is_lost):
        return None
    stragglers = sorted([*state.names(lambda host: not host.is_done), *state.absent])
    done = state.count(lambda host: host.is_done)
    if not state.total:
        return DeploymentStatus.SUCCEEDED, "every host that it was for has left the fleet"
    if not stragglers:
        return DeploymentStatus.SUCCEEDED, f"{_everybody(state.total)} {state.deployment.version}"
    behind = f"{listed(stragglers)} {'is' if len(stragglers) == 1 else 'are'} behind"
    return DeploymentStatus.DEGRADED, f"{done} of {state.total} hosts run {state.deployment.version}; {behind}"


def _everybody(total: int) -> str:
    return "the only host runs" if total == 1 else f"all {total} hosts run"


def _end_of_degraded(state: RolloutState) -> _Ending | None:
    if state.status is not DeploymentStatus.DEGRADED:
        return None
    ending = _end_of_walk(state)
    return ending if ending and ending[0] is DeploymentStatus.SUCCEEDED else None


def _end_of_halted(state: RolloutState) -> _Ending | None:
    """End a halted deployment in which nobody is ordered back."""
    if state.count(lambda host: host.is_in_change):
        return None
    if state.deployment.plan.auto_rollback and state.count(lambda host: host.status is HostStatus.ROLLED_BACK):
        return DeploymentStatus.ROLLED_BACK, f"{state.halt}; what ran before runs again everywhere"
    switched = state.names(lambda host: host.status is HostStatus.COMMITTED)
    left = f"; {listed(switched)} stayed on {state.deployment.version}" if switched else "; no other host had switched"
    return DeploymentStatus.FAILED, f"{state.halt}{left}"


def _end_of_retreat(state: RolloutState, moment: Moment) -> _Ending | None:
    """End a fleet rollback: when all are back, or nothing moves any more."""
    outstanding = [host.name for id_, host in state.hosts.items() if _is_outstanding(id_, host, moment)]
    if outstanding and not _stands_still(state, moment):
        return None
    stuck = state.names(lambda host: host.told is Verb.ROLLBACK and host.status is HostStatus.FAILED)
    if outstanding or stuck:
        return DeploymentStatus.FAILED, f"{state.halt}; {listed(sorted({*outstanding, *stuck}))} did not go back"
    lost = state.names(lambda host: host.is_lost and host.told is Verb.ROLLBACK)
    rest = f", but {listed(lost)} cannot be reached and goes back when it returns" if lost else " everywhere"
    return DeploymentStatus.ROLLED_BACK, f"{state.halt}; what ran before runs again{rest}"


def _is_outstanding(id_: str, host: HostState, moment: Moment) -> bool:
    if host.told is not Verb.ROLLBACK or host.status in _BACK:
        return False
    # A lease that was never used and can no longer be: nothing was switched, nothing has to go back.
    is_unused = host.status is HostStatus.STAGED and moment.has_heard(id_)
    return not (is_unused and moment.now > host.lease_until + LEASE_GRACE)
