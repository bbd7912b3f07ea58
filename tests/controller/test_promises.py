"""The promises of the design, over fleets in memory whose hosts die, fail, flap, lie and miss signals at random."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.controller.fake_fleet import STAGING, SWITCHING, FakeFleet, Faults, fleet_of
from tests.effort import examples

from clarion_controller.admit import max_parallel
from clarion_controller.state.events import Halted, Signalled
from clarion_controller.streams import Walk
from clarion_protocol.documents import Plan
from clarion_protocol.words import DeploymentStatus, HostStatus, Strategy, Verb

DEADLINE = 200.0
ENOUGH = settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))


def flapping(period: int, silent: int) -> Callable[[float], bool]:
    """Return when a host is silent: the first `silent` seconds of every `period`."""
    return lambda now: now % period < silent


faults = st.one_of(
    st.builds(Faults),
    st.builds(Faults, step_time=st.floats(1, 30)),
    st.builds(Faults, fails_in=st.sampled_from([*STAGING, *SWITCHING])),
    st.builds(Faults, dies_in=st.sampled_from([*STAGING, *SWITCHING])),
    st.builds(Faults, silent_when=st.builds(flapping, st.integers(100, 400), st.integers(5, 300))),
    st.just(Faults(is_dead=True)),
    st.just(Faults(misses_signals=True)),
    st.just(Faults(lies_committed=True)),
)
plans = st.builds(
    Plan,
    type=st.sampled_from([Strategy.ROLLING, Strategy.ROLLING, Strategy.ALL_AT_ONCE]),
    max_parallel=st.sampled_from(["1", "2", "25%", "50%", "100%"]),
    max_failures=st.integers(0, 3),
    max_unreachable=st.sampled_from(["0", "1", "30%", "100%"]),
    auto_rollback=st.booleans(),
    lease_timeout=st.sampled_from([20.0, 60.0]),
    progress_deadline=st.just(DEADLINE),
)


def watch(fleet: FakeFleet, walk: Walk) -> Callable[[], bool]:
    """Return a check for every step: nobody beyond `max_parallel` is in change, whatever hosts say."""
    # Whoever was ever lost is left out: a host that vanished in change and comes back is nobody's fault.
    lost: set[str] = set()

    def is_over() -> bool:
        state = fleet.state_of(walk)
        lost.update(state.ids(lambda host: host.is_lost))
        in_change = [host for host in fleet.hosts.values() if host.is_in_change and host.id not in lost]
        assert len(in_change) <= max_parallel(state)
        return state.status.is_final

    return is_over


def check_ending(fleet: FakeFleet, walk: Walk) -> None:
    """Check that the ending is what really is, and that it says why."""
    state = walk.state
    honest = {id_: host for id_, host in fleet.hosts.items() if not host.faults.lies_committed}
    assert state.reason
    for id_, host in honest.items():
        if state.hosts[id_].status is HostStatus.COMMITTED:
            assert host.runs == state.deployment.version
    if state.status is DeploymentStatus.SUCCEEDED:
        assert all(host.runs == state.deployment.version for host in honest.values())
    if state.status is DeploymentStatus.ROLLED_BACK:
        up = [host for id_, host in honest.items() if not state.hosts[id_].is_lost]
        assert all(host.runs == "1.0.0" for host in up if not host.faults.is_dead)
    assert fleet.log.verify().broken_at is None


def no_lease_after_halt(fleet: FakeFleet, walk: Walk) -> bool:
    """Return whether nobody was admitted once the deployment was halted."""
    events = fleet.log.events_of(walk.state.deployment.id)
    halts = [place for place, event in enumerate(events) if isinstance(event, Halted)]
    after = events[halts[0] :] if halts else []
    return not any(isinstance(event, Signalled) and event.verb is Verb.LEASE for event in after)


@ENOUGH
@given(st.lists(faults, min_size=1, max_size=10), plans)
def test_every_deployment_ends_truthfully_within_its_deadlines(hosts: list[Faults], plan: Plan) -> None:
    """Whatever hosts do, a deployment ends, for a stated reason, having never exceeded its limits."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), len(hosts), *hosts)
        walk = fleet.deploy_with(plan)
        walk = fleet.run(walk, until=watch(fleet, walk), limit=4000)
        check_ending(fleet, walk)
        assert no_lease_after_halt(fleet, walk)


@ENOUGH
@given(st.lists(faults, min_size=1, max_size=6), plans, st.lists(st.integers(1, 60), max_size=5))
def test_a_controller_killed_again_and_again_keeps_every_promise(
    hosts: list[Faults], plan: Plan, restarts: list[int]
) -> None:
    """Restarting from the log changes nothing that holds: limits, endings, truth."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), len(hosts), *hosts)
        walk = fleet.deploy_with(plan)
        is_over = watch(fleet, walk)
        for steps in restarts:
            for _ in range(steps):
                is_over()
                fleet.step()
            before = fleet.state_of(walk)
            fleet.start_controller()
            assert fleet.state_of(walk) == before
            fleet.rollouts.resume()
        walk = fleet.run(walk, until=is_over, limit=4000)
        check_ending(fleet, walk)
        assert no_lease_after_halt(fleet, walk)


@ENOUGH
@given(st.integers(2, 12), st.sampled_from(["1", "25%", "100%"]), st.data())
def test_lost_signals_delay_a_deployment_and_never_lose_it(count: int, parallel: str, data: st.DataObject) -> None:
    """Hosts that hear no broadcast ask, and are brought to the release all the same."""
    deaf = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), count, *[Faults(misses_signals=each) for each in deaf])
        walk = fleet.deploy_with(Plan(max_parallel=parallel, lease_timeout=120.0, progress_deadline=2000.0))
        walk = fleet.run(walk, limit=8000)
        assert walk.state.status is DeploymentStatus.SUCCEEDED
        assert {host.runs for host in fleet.hosts.values()} == {"1.1.0"}


@ENOUGH
@given(st.integers(4, 20), st.integers(1, 3), st.sampled_from(["1", "25%"]))
def test_dead_hosts_within_the_budget_neither_block_nor_are_forgotten(count: int, dead: int, parallel: str) -> None:
    """Every living host is brought to the release; the dead are counted and named."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), count, *[Faults(is_dead=True)] * dead)
        walk = fleet.run(fleet.deploy_with(Plan(max_parallel=parallel, max_unreachable=str(dead))))
        assert walk.state.status is DeploymentStatus.DEGRADED
        assert walk.state.count(lambda host: host.is_lost) == dead
        living = [host for host in fleet.hosts.values() if not host.faults.is_dead]
        assert {host.runs for host in living} == {"1.1.0"}


@ENOUGH
@given(st.integers(3, 10), st.integers(0, 2), st.integers(1, 3))
def test_one_failure_too_many_stops_the_rest(count: int, allowed: int, parallel: int) -> None:
    """Beyond `max_failures`, at most the hosts already in change are touched, and all go back."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), count, *[Faults(fails_in=HostStatus.CHECKING) for _ in range(count)])
        plan = Plan(max_parallel=str(parallel), max_failures=allowed)
        walk = fleet.run(fleet.deploy_with(plan))
        touched = walk.state.count(lambda host: host.has_switched)
        ended = walk.state.status
        if allowed >= count:
            assert ended is DeploymentStatus.DEGRADED
        else:
            assert ended is DeploymentStatus.ROLLED_BACK
            assert touched <= allowed + min(parallel, count)
        assert {host.runs for host in fleet.hosts.values()} == {"1.0.0"}
