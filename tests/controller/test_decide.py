"""What is decided in each situation, as a table; what it leads to over time is in test_rollout and test_promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.controller.test_admit import hosts, plans, state_of

from clarion_controller.decide import LEASE_GRACE, Moment, decide
from clarion_controller.state.apply import apply
from clarion_controller.state.events import Halted, HostBack, HostLost, Paused, Resumed, Signalled, StatusChanged
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_protocol.documents import Plan
from clarion_protocol.errors import Interrupted
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

NOW = 1000.0
PLAN = Plan(max_parallel="1", max_failures=0, max_unreachable="0")

UNTOLD = HostState(name="")
PULLING = HostState(name="", status=HostStatus.PULLING, told=Verb.STAGE)
STAGED = HostState(name="", status=HostStatus.STAGED, told=Verb.STAGE)
LEASED = HostState(name="", status=HostStatus.STAGED, told=Verb.LEASE, lease_until=NOW + 30)
OVERDUE = HostState(name="", status=HostStatus.STAGED, told=Verb.LEASE, lease_until=NOW - LEASE_GRACE - 1)
HELD = replace(LEASED, told=Verb.PAUSE)
CHECKING = HostState(name="", status=HostStatus.CHECKING, told=Verb.LEASE, lease_until=NOW, has_switched=True)
COMMITTED = HostState(name="", status=HostStatus.COMMITTED, told=Verb.LEASE, lease_until=NOW, has_switched=True)
FAILED = HostState(name="", status=HostStatus.FAILED, told=Verb.STAGE)
BACK = HostState(name="", status=HostStatus.ROLLED_BACK, told=Verb.LEASE, lease_until=NOW, has_switched=True)
LOST = HostState(name="", status=HostStatus.UNREACHABLE, told=Verb.STAGE, since=NOW - 50, lost_as=HostStatus.PENDING)
LOST_SWITCHING = replace(LOST, told=Verb.LEASE, lost_as=HostStatus.CHECKING)
SKIPPED = HostState(name="", status=HostStatus.SKIPPED, told=Verb.ABORT)


def situation(*hosts: HostState, plan: Plan = PLAN, **fields: object) -> RolloutState:
    """Return a deployment in which something has just moved."""
    state = replace(state_of(plan, list(hosts)), moved_at=NOW, reason="as it was")
    return replace(state, **fields)


def moment(state: RolloutState, *silent: int) -> Moment:
    """Return now, with everybody heard just now but those who are `silent`, and who is lost."""
    heard = {
        id_: 0.0 if number in silent or host.is_lost else NOW for number, (id_, host) in enumerate(state.hosts.items())
    }
    return Moment(NOW, heard)


def in_short(state: RolloutState, at: Moment) -> list[str]:
    """Return what is decided, one line each."""
    lines = []
    for action in decide(state, at):
        if isinstance(action, Signalled):
            lines.append(f"{action.verb.value} {' '.join(state.hosts[id_].name for id_ in action.hosts)}")
        elif isinstance(action, (HostLost, HostBack)):
            lines.append(f"{type(action).__name__} {state.hosts[action.host].name}")
        elif isinstance(action, StatusChanged):
            lines.append(action.status.value)
        else:
            lines.append(type(action).__name__)
    return lines


ONE_MAY_FAIL = replace(PLAN, max_failures=1)
ONE_MAY_BE_LOST = replace(PLAN, max_unreachable="1")
STAY = replace(PLAN, auto_rollback=False)
HALTED = "web-0 failed"


@pytest.mark.parametrize(
    ("state", "decided"),
    [
        pytest.param(situation(UNTOLD, UNTOLD), ["stage web-0 web-1"], id="at the beginning all stage"),
        pytest.param(situation(PULLING, STAGED), [], id="nobody switches while somebody reachable stages"),
        pytest.param(situation(STAGED, STAGED), ["lease web-0"], id="then leases, as many as may"),
        pytest.param(situation(LEASED, STAGED), [], id="the next waits for the one before"),
        pytest.param(situation(COMMITTED, STAGED), ["lease web-1"], id="and goes when it has committed"),
        pytest.param(situation(COMMITTED, PULLING), [], id="a straggler that still stages is waited for"),
        pytest.param(situation(OVERDUE, STAGED), ["HostLost web-0"], id="a lease without a word is a lost host"),
        pytest.param(situation(LOST, STAGED), ["Halted"], id="one lost too many halts"),
        pytest.param(situation(LOST, STAGED, plan=ONE_MAY_BE_LOST), ["lease web-1"], id="one lost that may be lost"),
        pytest.param(situation(FAILED, STAGED), ["Halted"], id="one failed too many halts"),
        pytest.param(situation(FAILED, STAGED, plan=ONE_MAY_FAIL), ["lease web-1"], id="one failed that may fail"),
        pytest.param(situation(FAILED, STAGED, halt=HALTED), ["abort web-1"], id="after a halt the rest is told"),
        pytest.param(situation(FAILED, SKIPPED, halt=HALTED), ["failed"], id="it broke before any switch: failed"),
        pytest.param(situation(BACK, SKIPPED, halt=HALTED), ["rolled_back"], id="it switched and is back: rolled back"),
        pytest.param(
            situation(BACK, COMMITTED, CHECKING, LOST_SWITCHING, STAGED, halt=HALTED),
            ["rolling_back", "rollback web-1 web-2 web-3"],
            id="whoever may run it is ordered back",
        ),
        pytest.param(
            situation(BACK, CHECKING, plan=STAY, halt=HALTED), [], id="without rollback, who is in change ends"
        ),
        pytest.param(situation(BACK, COMMITTED, plan=STAY, halt=HALTED), ["failed"], id="and then it has failed"),
        pytest.param(situation(COMMITTED, COMMITTED), ["succeeded"], id="all done"),
        pytest.param(situation(COMMITTED, SKIPPED), ["degraded"], id="skipped is not done"),
        pytest.param(situation(COMMITTED, LOST, plan=ONE_MAY_BE_LOST), ["degraded"], id="done but for one"),
        pytest.param(
            situation(COMMITTED, COMMITTED, status=DeploymentStatus.DEGRADED), ["succeeded"], id="the last one came"
        ),
        pytest.param(
            situation(COMMITTED, STAGED, status=DeploymentStatus.SUCCEEDED), ["lease web-1"], id="a joiner is leased"
        ),
        pytest.param(situation(STAGED, status=DeploymentStatus.PAUSED), [], id="paused: no leases"),
        pytest.param(
            situation(LEASED, CHECKING, STAGED, status=DeploymentStatus.PAUSED),
            ["pause web-0"],
            id="paused: an unused lease is taken back",
        ),
        pytest.param(situation(HELD, STAGED, status=DeploymentStatus.PAUSED), [], id="paused: once"),
        pytest.param(situation(STAGED, HELD), ["lease web-1"], id="who was held back goes first, in its own place"),
        pytest.param(
            situation(BACK, HELD, halt=HALTED), ["rolling_back", "rollback web-1"], id="who may have missed a pause"
        ),
        pytest.param(situation(UNTOLD, status=DeploymentStatus.PAUSED), ["stage web-0"], id="paused: staging goes on"),
        pytest.param(situation(STAGED, status=DeploymentStatus.SUPERSEDED), [], id="superseded: nothing"),
        pytest.param(situation(STAGED, CHECKING, status=DeploymentStatus.ABORTED), ["abort web-0"], id="aborted"),
        pytest.param(situation(STAGED, moved_at=NOW - 601), ["Halted"], id="nothing moved for too long"),
        pytest.param(
            situation(STAGED, moved_at=NOW - 601, status=DeploymentStatus.PAUSED), [], id="the clock stands in a pause"
        ),
    ],
)
def test_what_is_decided(state: RolloutState, decided: list[str]) -> None:
    """Each situation has its actions."""
    assert in_short(state, moment(state)) == decided


@pytest.mark.parametrize(
    ("told", "failed"),
    [
        pytest.param(Verb.ABORT, False, id="it was told to go back"),
        pytest.param(Verb.LEASE, True, id="nobody told it: its agent was stopped and its lease ran out"),
    ],
)
def test_a_host_that_was_told_to_go_back_did_not_fail(told: Verb, *, failed: bool) -> None:
    """An abort in the danger zone is shown as what it is, and counts against no limit."""
    host = replace(BACK, told=told, error=Interrupted.code)
    assert host.has_failed is failed
    assert in_short(situation(host, COMMITTED), moment(situation(host, COMMITTED))) == (
        ["Halted"] if failed else ["degraded"]
    )


def test_silence_makes_a_host_lost_and_a_word_brings_it_back() -> None:
    """After `unreachable_after`; what it was before is remembered."""
    state = situation(PULLING, PULLING)
    assert in_short(state, moment(state, 1)) == ["HostLost web-1"]
    lost = apply(state, *decide(state, moment(state, 1)))
    back = apply(lost, HostBack(at=NOW, host=list(state.hosts)[1]))
    assert [host.status for host in back.hosts.values()] == [HostStatus.PULLING, HostStatus.PULLING]


@pytest.mark.parametrize(
    ("off", "said"),
    [
        pytest.param(3600.0, "its clock is 60 min ahead; run 'timedatectl' there", id="ahead"),
        pytest.param(-3600.0, "its clock is 60 min behind; run 'timedatectl' there", id="behind"),
    ],
)
def test_a_host_with_a_wrong_clock_counts_as_lost_and_is_told_so(off: float, said: str) -> None:
    """Nothing signed is in time for it, so waiting for it would be waiting for ever; set right, it is back."""
    state = situation(PULLING, PULLING)
    first = next(iter(state.hosts))
    heard = dict.fromkeys(state.hosts, NOW)
    lost = apply(state, *decide(state, Moment(NOW, heard, clocks={first: off})))
    assert (lost.hosts[first].status, lost.hosts[first].reason) == (HostStatus.UNREACHABLE, said)
    later = Moment(NOW + 30, dict.fromkeys(state.hosts, NOW + 30), clocks={first: off})
    assert "HostBack" not in str(decide(lost, later))
    right = Moment(NOW + 30, dict.fromkeys(state.hosts, NOW + 30), clocks={first: 2.0})
    assert in_short(lost, right) == ["HostBack web-0"]


def test_a_wrong_clock_does_not_take_a_host_out_of_the_middle_of_its_switch() -> None:
    """It reports as it goes, and what it began it ends by itself."""
    state = situation(CHECKING)
    heard = dict.fromkeys(state.hosts, NOW)
    assert decide(state, Moment(NOW, heard, clocks=dict.fromkeys(state.hosts, 3600.0))) == []


def test_silence_before_the_controller_listened_does_not_count() -> None:
    """A controller that was away for an hour does not find everybody lost."""
    state = situation(PULLING)
    assert decide(state, Moment(NOW, {}, listening_since=NOW - 10)) == []


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(situation(OVERDUE, STAGED), id="a lease that ran out meanwhile may have been used"),
        pytest.param(situation(CHECKING, moved_at=NOW - 5000), id="what moved meanwhile is yet to be told"),
        pytest.param(
            situation(replace(OVERDUE, told=Verb.ROLLBACK), status=DeploymentStatus.ROLLING_BACK, halt=HALTED),
            id="who had a lease may have to go back",
        ),
    ],
)
def test_nothing_is_concluded_from_a_time_in_which_nobody_listened(state: RolloutState) -> None:
    """A controller that comes back after an hour hears its hosts out before it judges them."""
    at = Moment(NOW, dict.fromkeys(state.hosts, NOW - 100), listening_since=NOW - 10)
    assert decide(state, at) == []


def test_a_pause_does_not_count_against_the_deadline() -> None:
    """Resumed after any time, as much is left as there was."""
    state = situation(STAGED, moved_at=NOW - 500)
    later = apply(state, Paused(at=NOW), Resumed(at=NOW + 10_000))
    assert later.moved_at == NOW - 500 + 10_000


def test_a_fleet_that_cannot_go_back_is_told_so() -> None:
    """Nothing moves any more while it goes back: it has failed, and says who did not."""
    told = replace(COMMITTED, told=Verb.ROLLBACK)
    state = situation(BACK, told, status=DeploymentStatus.ROLLING_BACK, moved_at=NOW - 601, halt=HALTED)
    (ended,) = decide(state, moment(state))
    assert isinstance(ended, StatusChanged)
    assert (ended.status, "web-1 did not go back" in ended.reason) == (DeploymentStatus.FAILED, True)


def test_a_lost_host_does_not_hold_up_going_back() -> None:
    """It is named, and goes back when it returns."""
    lost = replace(LOST_SWITCHING, told=Verb.ROLLBACK)
    state = situation(BACK, lost, status=DeploymentStatus.ROLLING_BACK, halt=HALTED)
    (ended,) = decide(state, moment(state))
    assert isinstance(ended, StatusChanged)
    assert ended.status is DeploymentStatus.ROLLED_BACK
    assert "web-1 cannot be reached and goes back when it returns" in ended.reason


@given(plans, st.lists(hosts, min_size=1, max_size=12), st.sampled_from(DeploymentStatus), st.booleans())
def test_deciding_always_comes_to_rest(
    plan: Plan, found: list[HostState], status: DeploymentStatus, is_halted: bool
) -> None:
    """From any state whatever, a few rounds leave nothing to decide at the same moment."""
    state = situation(*found, plan=plan, status=status, halt="a reason" if is_halted else "")
    at = moment(state)
    for _ in range(12):
        actions = decide(state, at)
        if not actions:
            return
        state = apply(state, *actions)
    raise AssertionError(actions)


@given(plans, st.lists(hosts, min_size=1, max_size=12))
def test_every_halt_and_every_end_has_a_sentence(plan: Plan, found: list[HostState]) -> None:
    """Nobody has to guess why it stopped."""
    state = situation(*found, plan=plan)
    for action in decide(state, moment(state)):
        if isinstance(action, (Halted, StatusChanged)):
            assert len(action.reason) > 10
