"""Rollouts over a fleet in memory: real database, real signatures, simulated hosts and time."""

from __future__ import annotations

from pathlib import Path

from tests.controller.fake_fleet import Faults, fleet_of

from clarion_protocol.words import DeploymentStatus, HostStatus, Strategy


def test_a_rolling_deployment_brings_every_host_to_the_release(tmp_path: Path) -> None:
    """All hosts commit, never more than max_parallel at once."""
    fleet = fleet_of(tmp_path, 8)
    walk = fleet.run(fleet.deploy(max_parallel="25%"))
    assert walk.state.status is DeploymentStatus.SUCCEEDED
    assert walk.state.reason == "all 8 hosts run 1.1.0"
    assert {host.runs for host in fleet.hosts.values()} == {"1.1.0"}
    assert fleet.most_in_change == 2


def test_all_at_once_switches_everybody_in_one_batch(tmp_path: Path) -> None:
    """After staging, every host is in change at the same time."""
    fleet = fleet_of(tmp_path, 8)
    fleet.run(fleet.deploy(type=Strategy.ALL_AT_ONCE))
    assert fleet.most_in_change == 8


def test_a_version_that_fails_its_check_goes_back_everywhere(tmp_path: Path) -> None:
    """The first failure halts, who had committed is ordered back, nobody else is touched."""
    fleet = fleet_of(tmp_path, 6, Faults(), Faults(fails_in=HostStatus.CHECKING))
    walk = fleet.run(fleet.deploy(max_parallel="1"))
    assert walk.state.status is DeploymentStatus.ROLLED_BACK
    assert "web-0002 failed: the check failed" in walk.state.reason
    assert {host.runs for host in fleet.hosts.values()} == {"1.0.0"}


def test_a_version_that_fails_its_tests_is_switched_nowhere(tmp_path: Path) -> None:
    """A failure while staging ends the deployment as failed, before any lease."""
    fleet = fleet_of(tmp_path, 4, Faults(fails_in=HostStatus.TESTING))
    walk = fleet.run(fleet.deploy())
    assert walk.state.status is DeploymentStatus.FAILED
    assert fleet.most_in_change == 0


def test_a_dead_host_within_the_budget_leaves_the_deployment_degraded(tmp_path: Path) -> None:
    """One host of twenty never answers: the others are done, it is named."""
    fleet = fleet_of(tmp_path, 20, Faults(is_dead=True))
    walk = fleet.run(fleet.deploy(max_parallel="1", max_unreachable="5%"))
    assert walk.state.status is DeploymentStatus.DEGRADED
    assert walk.state.reason == "19 of 20 hosts run 1.1.0; web-0001 is behind"


def test_a_restarted_controller_finishes_the_rollout(tmp_path: Path) -> None:
    """Replaying the log gives the same state; the rollout goes on to its end."""
    fleet = fleet_of(tmp_path, 6)
    walk = fleet.deploy(max_parallel="1")
    for _ in range(12):
        fleet.step()
    before = fleet.rollouts.streams.find(walk.state.deployment.id)
    fleet.start_controller()
    after = fleet.rollouts.streams.find(walk.state.deployment.id)
    assert before is not None
    assert after is not None
    assert after.state == before.state
    fleet.rollouts.resume()
    assert fleet.run(after).state.status is DeploymentStatus.SUCCEEDED
