"""Rollouts over a fleet that comes and goes: who leaves is no failure, who comes gets what `joiners` says."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.controller.fake_fleet import FakeFleet, Faults, fleet_of
from tests.controller.test_promises import no_lease_after_halt
from tests.effort import examples

from clarion_controller.admit import max_parallel
from clarion_controller.api.orders import pause, resume
from clarion_controller.streams import Walk
from clarion_protocol.documents import Deployment, Plan
from clarion_protocol.errors import UnknownName
from clarion_protocol.words import DeploymentStatus, HostStatus, Joiners, Strategy

# Each example is a fleet with a database of its own: most of a second, and several on a busy machine.
ENOUGH = settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = pytest.mark.timeout(600)


def listed_fleet(folder: Path, count: int, *faults: Faults) -> FakeFleet:
    """Return a fleet of hosts that a source lists."""
    fleet = fleet_of(folder, count, *faults)
    fleet.list_all()
    return fleet


def under_way(fleet: FakeFleet, **plan: Any) -> Walk:
    """Return a deployment that has begun to switch, one host at a time, after one that succeeded."""
    fleet.run(fleet.deploy("1.1.0"))
    walk = fleet.deploy("1.2.0", max_parallel="1", **plan)
    return fleet.run(walk, until=lambda: fleet.state_of(walk).has_begun_to_switch)


def test_who_is_terminated_during_a_rollout_leaves_every_count(tmp_path: Path) -> None:
    """Nobody has to be reachable who is not there any more: the deployment succeeds without them."""
    fleet = listed_fleet(tmp_path, 6)
    walk = under_way(fleet, max_unreachable="0")
    for name in ("web-0002", "web-0005"):
        fleet.terminate(name)
    walk = fleet.run(walk)
    assert walk.state.status is DeploymentStatus.SUCCEEDED
    assert walk.state.reason == "all 4 hosts run 1.2.0"


def test_who_is_listed_after_it_joined_is_told_at_once(tmp_path: Path) -> None:
    """A host asked when nobody listed it yet, and heard signals of orders it never had: it need not ask again."""
    fleet = listed_fleet(tmp_path, 2)
    walk = under_way(fleet)
    late = fleet.join("late")
    for _ in range(5):
        fleet.step()
    assert late.deployment is None
    fleet.appear("late")
    fleet.step()
    assert late.deployment == walk.state.deployment
    fleet.step()
    assert late.status is HostStatus.PULLING


def test_a_host_that_vanishes_in_the_middle_of_its_change_frees_its_place(tmp_path: Path) -> None:
    """With one lease at a time, the next host gets its turn at once."""
    fleet = listed_fleet(tmp_path, 3, Faults(step_time=30.0))
    walk = under_way(fleet, max_unreachable="0")
    fleet.terminate("web-0001")
    fleet.step()
    assert fleet.state_of(walk).names(lambda host: host.is_in_change) == ["web-0002"]
    assert fleet.run(walk).state.reason == "all 2 hosts run 1.2.0"


def test_a_fleet_of_which_nobody_is_left_is_no_failure(tmp_path: Path) -> None:
    """Scaled to nothing during the rollout; who is launched later gets what is wanted."""
    fleet = listed_fleet(tmp_path, 3)
    walk = under_way(fleet)
    for host in list(fleet.hosts.values()):
        fleet.terminate(host.name)
    walk = fleet.run(walk)
    assert walk.state.status is DeploymentStatus.SUCCEEDED
    assert walk.state.reason == "every host that it was for has left the fleet"
    launched = fleet.launch("web-0009")
    fleet.run(walk, until=lambda: launched.status is HostStatus.COMMITTED, limit=100)
    assert launched.runs == "1.2.0"


def test_new_joiners_take_part_in_the_rollout(tmp_path: Path) -> None:
    """They are counted, wait for their turn, and the deployment is not over without them."""
    fleet = listed_fleet(tmp_path, 4)
    walk = under_way(fleet, joiners=Joiners.NEW)
    joiner = fleet.launch("web-0009")
    fleet.step()
    assert fleet.state_of(walk).total == 5
    assert fleet.run(walk).state.reason == "all 5 hosts run 1.2.0"
    assert joiner.runs == "1.2.0"
    assert fleet.most_in_change == 1


@pytest.mark.parametrize("restarts", [False, True], ids=["", "restarted"])
def test_old_joiners_run_what_is_proven_until_the_new_is(tmp_path: Path, *, restarts: bool) -> None:
    """The last good release at once, although the rollout is under way; the new one when it has succeeded."""
    fleet = listed_fleet(tmp_path, 6)
    walk = under_way(fleet, joiners=Joiners.OLD)
    joiner = fleet.launch("web-0009")
    fleet.run(walk, until=lambda: joiner.status is HostStatus.COMMITTED, limit=60)
    assert joiner.runs == "1.1.0"
    assert not fleet.state_of(walk).status.is_final
    if restarts:
        fleet.start_controller()
        fleet.rollouts.resume()
    assert fleet.run(walk).state.reason == "all 6 hosts run 1.2.0"
    fleet.run(walk, until=lambda: joiner.runs == "1.2.0", limit=100)


def test_old_joiners_stay_where_they_are_when_the_new_fails(tmp_path: Path) -> None:
    """They never saw what was rolled back."""
    fleet = listed_fleet(tmp_path, 4, Faults(step_time=5.0))
    walk = under_way(fleet, joiners=Joiners.OLD)
    fleet.named("web-0003").faults.fails_in = HostStatus.CHECKING
    joiner = fleet.launch("web-0009")
    assert fleet.run(walk).state.status is DeploymentStatus.ROLLED_BACK
    fleet.run(walk, until=lambda: joiner.status is HostStatus.COMMITTED, limit=100)
    for _ in range(30):
        fleet.step()
    assert joiner.runs == "1.1.0"
    assert joiner.id not in fleet.state_of(walk).hosts


def test_old_joiners_of_a_first_deployment_wait_for_it(tmp_path: Path) -> None:
    """Nothing was proven before, and they never are to try what is not."""
    fleet = listed_fleet(tmp_path, 4)
    walk = fleet.deploy("1.1.0", max_parallel="1", joiners=Joiners.OLD)
    fleet.step()
    joiner = fleet.launch("web-0009")
    assert fleet.run(walk).state.reason == "all 4 hosts run 1.1.0"
    assert joiner.deployment is None
    fleet.run(walk, until=lambda: joiner.runs == "1.1.0", limit=100)


@pytest.mark.parametrize("restarts", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_waiting_joiners_get_what_is_in_force_when_it_is_over(tmp_path: Path, *, fails: bool, restarts: bool) -> None:
    """Nothing before; then the new release, or the last good one."""
    fleet = listed_fleet(tmp_path, 4, Faults(step_time=3.0))
    walk = under_way(fleet, joiners=Joiners.WAIT)
    if fails:
        fleet.named("web-0004").faults.fails_in = HostStatus.CHECKING
    joiner = fleet.launch("web-0009")
    fleet.run(walk, until=lambda: fleet.state_of(walk).status.is_final)
    assert joiner.deployment is None
    if restarts:
        fleet.start_controller()
        fleet.rollouts.resume()
    wanted = "1.1.0" if fails else "1.2.0"
    fleet.run(walk, until=lambda: joiner.runs == wanted, limit=100)


def test_joiners_of_a_paused_rollout_stage_and_wait_for_its_leases(tmp_path: Path) -> None:
    """Being brought in is no way around a pause."""
    fleet = listed_fleet(tmp_path, 3)
    walk = under_way(fleet)
    fleet.rollouts.order(walk, pause(fleet.state_of(walk), "ada", fleet.clock.now))
    joiner = fleet.launch("web-0009")
    for _ in range(40):
        fleet.step()
    assert joiner.status is HostStatus.STAGED
    fleet.rollouts.order(walk, resume(fleet.state_of(walk), "ada", fleet.clock.now))
    assert fleet.run(walk).state.reason == "all 4 hosts run 1.2.0"


def test_an_agent_that_no_source_lists_gets_nothing_until_one_does(tmp_path: Path) -> None:
    """However long it has been enrolled."""
    fleet = listed_fleet(tmp_path, 3)
    stranger = fleet.join("web-0009")
    walk = fleet.run(fleet.deploy())
    for _ in range(100):
        fleet.step()
    assert (stranger.runs, fleet.state_of(walk).total) == ("1.0.0", 3)
    fleet.appear("web-0009")
    fleet.run(walk, until=lambda: stranger.runs == "1.1.0", limit=100)


def test_who_comes_back_goes_on_where_it_was(tmp_path: Path) -> None:
    """Listed no more for a while, whatever it did meanwhile; nothing is halted by its coming back silent."""
    fleet = listed_fleet(tmp_path, 5, Faults(), *[Faults(step_time=4.0)] * 4)
    walk = under_way(fleet, max_unreachable="0")
    away = fleet.named("web-0001")
    fleet.disappear("web-0001")
    fleet.run(walk, until=lambda: away.status is HostStatus.COMMITTED)
    away.faults.is_dead = True
    for _ in range(10):
        fleet.step(20)
    fleet.appear("web-0001")
    fleet.step()
    assert fleet.state_of(walk).hosts[away.id].status is HostStatus.COMMITTED
    away.faults.is_dead = False
    assert fleet.run(walk).state.reason == "all 5 hosts run 1.2.0"


def test_a_server_that_is_started_again_is_given_time_to_start(tmp_path: Path) -> None:
    """Silent for hours because it was stopped: it counts as lost only when it stays silent after it came back."""
    fleet = listed_fleet(tmp_path, 5)
    stopped = fleet.named("web-0005")
    fleet.terminate("web-0005")
    for _ in range(20):
        fleet.step(20)
    walk = under_way(fleet, max_unreachable="0")
    fleet.appear("web-0005")
    for _ in range(3):
        fleet.step()
    assert not fleet.state_of(walk).is_halted
    stopped.faults.is_dead = False
    assert fleet.run(walk).state.reason == "all 5 hosts run 1.2.0"


def test_who_took_a_bad_version_with_it_goes_back_when_it_comes_back(tmp_path: Path) -> None:
    """Listed no more while the others were ordered back, so nobody told it; it does not stay on what failed."""
    fleet = listed_fleet(tmp_path, 4, Faults(), Faults(step_time=3.0))
    walk = under_way(fleet)
    fleet.named("web-0002").faults.fails_in = HostStatus.CHECKING
    away = fleet.named("web-0001")
    fleet.run(walk, until=lambda: away.status is HostStatus.COMMITTED)
    fleet.step()
    fleet.disappear("web-0001")
    assert fleet.run(walk).state.status is DeploymentStatus.ROLLED_BACK
    assert away.runs == "1.2.0"
    fleet.appear("web-0001")
    fleet.run(walk, until=lambda: away.status is HostStatus.ROLLED_BACK, limit=100)
    assert away.runs == "1.1.0"


def test_a_bad_version_is_stopped_although_bad_servers_are_replaced(tmp_path: Path) -> None:
    """The autoscaler takes each away that failed: their failures count all the same."""
    fleet = listed_fleet(tmp_path, 6, *[Faults(fails_in=HostStatus.CHECKING) for _ in range(6)])
    walk = fleet.deploy(max_parallel="1", max_failures=1)
    for _ in range(200):
        fleet.step()
        for failed in [host for host in fleet.hosts.values() if host.status is HostStatus.ROLLED_BACK]:
            if not failed.faults.is_dead:
                fleet.terminate(failed.name)
    state = fleet.state_of(walk)
    assert state.reason.startswith("web-0001, web-0002 failed: the check failed (max_failures is 1)")
    assert sum(host.has_switched for host in [*state.hosts.values(), *state.gone.values()]) == 2


def test_a_server_that_was_counted_without_agent_is_filled_or_goes(tmp_path: Path) -> None:
    """Its agent joins, or nobody lists it any more: both end what the deployment waits for."""
    fleet = listed_fleet(tmp_path, 4)
    for name in ("web-0008", "web-0009"):
        fleet.appear(name)
    walk = fleet.run(fleet.deploy(max_unreachable="100%"))
    assert walk.state.reason == "4 of 6 hosts run 1.1.0; web-0008, web-0009 are behind"
    fleet.join("web-0008")
    fleet.disappear("web-0009")
    fleet.run(walk, until=lambda: fleet.state_of(walk).status is DeploymentStatus.SUCCEEDED, limit=100)
    assert fleet.state_of(walk).reason == "all 5 hosts run 1.1.0"


def test_while_nobody_knows_the_fleet_nobody_leaves_it(tmp_path: Path) -> None:
    """It is said once, and made up for as soon as it is known again; who is revoked leaves at once."""
    fleet = listed_fleet(tmp_path, 4)
    walk = fleet.run(fleet.deploy())
    fleet.trouble = UnknownName("there is no environment 'production'")
    joiner = fleet.launch("web-0009")
    revoked = fleet.roster.named("production", "web-0001")
    assert revoked
    fleet.roster.revoke(revoked)
    fleet.hosts.pop(revoked.id)
    fleet.rollouts.host_left(revoked)
    with capture_logs() as logged:
        for _ in range(5):
            fleet.step()
    assert sorted(host.name for host in fleet.state_of(walk).hosts.values()) == ["web-0002", "web-0003", "web-0004"]
    assert [entry["event"] for entry in logged].count("rollout.fleet_unknown") == 1
    fleet.trouble = None
    fleet.run(walk, until=lambda: joiner.runs == "1.1.0", limit=100)


def test_the_fleet_is_asked_for_when_it_changed_and_not_each_turn(tmp_path: Path) -> None:
    """Five thousand servers are not matched every second."""
    fleet = listed_fleet(tmp_path, 4)
    fleet.run(fleet.deploy())
    asked: list[str] = []
    know = fleet.members

    def members(environment: str) -> object:
        asked.append(environment)
        return know(environment)

    object.__setattr__(fleet.settings, "members", members)
    for _ in range(50):
        fleet.step()
    assert len(asked) <= 1
    fleet.launch("web-0009")
    for _ in range(50):
        fleet.step()
    assert len(asked) <= 3


happenings = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["launch", "launch", "terminate", "disappear", "appear"]),
        st.integers(0, 99),
    ),
    max_size=14,
)
strategies = st.builds(
    Plan,
    type=st.sampled_from([Strategy.ROLLING, Strategy.ALL_AT_ONCE]),
    max_parallel=st.sampled_from(["1", "2", "25%", "100%"]),
    max_unreachable=st.just("0"),
    joiners=st.sampled_from(Joiners),
)


class Weather:
    """Lets servers come and go, and remembers who ever went, and who had a lease of each deployment just now."""

    def __init__(self, fleet: FakeFleet) -> None:
        self.fleet = fleet
        self.went: set[str] = set()
        self.holders: dict[str, set[str]] = {}

    def strike(self, what: str, number: int) -> None:
        """Let one thing happen."""
        fleet = self.fleet
        there = sorted(host.name for host in fleet.expected().values())
        hidden = sorted({host.name for host in fleet.hosts.values() if not host.faults.is_dead} - {*there})
        if what == "launch":
            fleet.launch(f"new-{len(fleet.hosts):04}", Faults(step_time=1.0 + number % 4))
        elif what == "appear" and hidden:
            fleet.appear(hidden[number % len(hidden)])
        elif what in ("terminate", "disappear") and there:
            name = there[number % len(there)]
            self.went.add(fleet.named(name).id)
            fleet.terminate(name) if what == "terminate" else fleet.disappear(name)

    def check_limits(self) -> None:
        """Check, in every deployment, that who is in change has a lease, and that none was given beyond `max_parallel`.

        That shrinks with the fleet: who has a lease keeps it, but nobody else gets one. Who vanished is left out.
        """
        for each in self.fleet.rollouts.streams.walks():
            state = each.state
            holders = {*state.ids(lambda host: host.is_in_change)}
            if holders - self.holders.get(state.deployment.id, set()) - self.went:
                assert len(holders - self.went) <= max_parallel(state)
            assert self._changing(state.deployment) <= holders
            self.holders[state.deployment.id] = holders

    def _changing(self, deployment: Deployment) -> set[str]:
        hosts = self.fleet.hosts.items()
        changing = {id_ for id_, host in hosts if host.is_in_change and host.deployment == deployment}
        return changing - self.went

    def check(self, walk: Walk, first: set[str]) -> None:
        """Check what else holds at every moment of a rollout in which nothing fails."""
        self.check_limits()
        state, expected = self.fleet.state_of(walk), set(self.fleet.expected())
        counted = set(state.hosts)
        assert counted <= expected
        assert counted >= first & expected
        if state.deployment.plan.joiners is Joiners.NEW:
            assert counted == expected
        elif not state.status.is_final:
            assert counted == first & expected
        assert not state.is_halted


@LONG
@ENOUGH
@given(st.integers(1, 7), strategies, happenings, st.sets(st.integers(0, 60), max_size=2))
def test_a_fleet_that_comes_and_goes_ends_on_what_is_in_force(
    count: int, plan: Plan, script: list[tuple[int, str, int]], restarts: set[int]
) -> None:
    """Whoever comes or goes whenever: limits hold, counts are true, nothing is halted, and all who are there run it."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = listed_fleet(Path(folder), count)
        weather = Weather(fleet)
        fleet.run(fleet.deploy("1.1.0"))
        walk = fleet.deploy_with(plan, "1.2.0")
        first = set(walk.state.hosts)
        steps = 0
        for gap, what, number in [*script, (0, "launch", 0)]:
            weather.strike(what, number)
            for _ in range(gap + 1):
                steps += 1
                if steps in restarts:
                    fleet.start_controller()
                    fleet.rollouts.resume()
                fleet.step()
                weather.check(walk, first)
        walk = fleet.run(walk)
        assert walk.state.status is DeploymentStatus.SUCCEEDED
        fleet.run(walk, until=lambda: {host.runs for host in fleet.expected().values()} <= {"1.2.0"}, limit=400)
        fleet.step()
        assert set(fleet.state_of(walk).hosts) == set(fleet.expected())


@LONG
@ENOUGH
@example(
    fails=[HostStatus.CHECKING, None],
    plan=Plan(max_parallel="1", max_unreachable="0", joiners=Joiners.NEW),
    script=[(7, "appear", 0), *[(0, "launch", 0)] * 4, (0, "launch", 95), (0, "launch", 46), (0, "terminate", 2)],
)
@given(
    st.lists(st.sampled_from([None, HostStatus.TESTING, HostStatus.CHECKING]), min_size=2, max_size=6),
    strategies,
    happenings,
)
def test_whatever_fails_in_a_fleet_that_comes_and_goes_is_stopped(
    fails: list[HostStatus | None], plan: Plan, script: list[tuple[int, str, int]]
) -> None:
    """It ends, truthfully: nobody is admitted after a halt, and nobody who was there throughout keeps what failed."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = listed_fleet(Path(folder), len(fails))
        weather = Weather(fleet)
        fleet.run(fleet.deploy("1.1.0"))
        for host, fails_in in zip(fleet.hosts.values(), fails, strict=True):
            host.faults.fails_in = fails_in
        walk = fleet.deploy_with(plan, "1.2.0")
        for gap, what, number in script:
            weather.strike(what, number)
            for _ in range(gap + 1):
                fleet.step()
                weather.check_limits()
        walk = fleet.run(walk)
        assert walk.state.reason
        assert no_lease_after_halt(fleet, walk)
        if walk.state.status is DeploymentStatus.ROLLED_BACK:
            stayed = [host for id_, host in fleet.hosts.items() if id_ not in weather.went]
            assert all(host.runs != "1.2.0" for host in stayed)
        assert fleet.log.verify().broken_at is None
