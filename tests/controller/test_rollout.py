"""Rollouts over a fleet in memory: real database, real signatures, simulated hosts and time."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from sqlalchemy.event import listen
from structlog.testing import capture_logs
from tests.controller.fake_fleet import Faults, fleet_of

from clarion_controller.api.orders import abort, pause, resume
from clarion_controller.gateway.gateway import Inbound
from clarion_controller.inbox import Inbox
from clarion_controller.state.events import Signalled
from clarion_controller.streams import MAX_CLAIMED
from clarion_protocol import strict_json
from clarion_protocol.documents import Head
from clarion_protocol.wire import Ask, Up
from clarion_protocol.words import DeploymentStatus, HostStatus, Strategy, Verb


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


@pytest.mark.parametrize("restarts", [True, False], ids=["restarted", "suspended"])
def test_a_controller_that_was_away_for_long_finishes_the_rollout(tmp_path: Path, *, restarts: bool) -> None:
    """Beyond every lease and deadline; meanwhile hosts went on, and their words arrive a little later."""
    fleet = fleet_of(tmp_path, 6)
    walk = fleet.deploy(max_parallel="2", max_unreachable="0", lease_timeout=60.0, progress_deadline=600.0)
    fleet.run(walk, until=lambda: fleet.state_of(walk).has_begun_to_switch)
    for _ in range(30):
        fleet.clock.now += 60
        for host in fleet.hosts.values():
            host.work(fleet.clock.now)
    if restarts:
        fleet.start_controller()
        fleet.rollouts.resume()
    for _ in range(10):
        fleet.clock.now += 1
        fleet.rollouts.turn([])
    assert fleet.run(walk).state.status is DeploymentStatus.SUCCEEDED


def test_a_straggler_that_comes_back_is_brought_up_to_date(tmp_path: Path) -> None:
    """A degraded deployment stays open; with its last straggler done it has succeeded."""
    fleet = fleet_of(tmp_path, 5, Faults(is_dead=True))
    walk = fleet.run(fleet.deploy(max_unreachable="1"))
    assert walk.state.status is DeploymentStatus.DEGRADED
    fleet.named("web-0001").faults.is_dead = False
    walk = fleet.run(walk, until=lambda: fleet.state_of(walk).status is DeploymentStatus.SUCCEEDED)
    assert fleet.named("web-0001").runs == "1.1.0"


def test_a_host_that_joins_later_gets_what_runs(tmp_path: Path) -> None:
    """After a deployment to everybody, a new host is staged and leased on its own."""
    fleet = fleet_of(tmp_path, 3)
    walk = fleet.run(fleet.deploy())
    fleet.step(3600)
    joiner = fleet.join("web-0004")
    fleet.run(walk, until=lambda: joiner.status is HostStatus.COMMITTED, limit=100)
    assert joiner.runs == "1.1.0"
    assert fleet.state_of(walk).status is DeploymentStatus.SUCCEEDED


def test_a_host_that_joins_after_a_bad_deployment_gets_the_last_good_one(tmp_path: Path) -> None:
    """What was rolled back is not given to newcomers; what was committed before it is."""
    fleet = fleet_of(tmp_path, 3)
    good = fleet.run(fleet.deploy("1.1.0"))
    fleet.named("web-0002").faults.fails_in = HostStatus.CHECKING
    assert fleet.run(fleet.deploy("1.2.0")).state.status is DeploymentStatus.ROLLED_BACK
    joiner = fleet.join("web-0004")
    fleet.run(good, until=lambda: joiner.status is HostStatus.COMMITTED, limit=200)
    assert joiner.runs == "1.1.0"


def test_a_newer_deployment_supersedes_the_one_under_way(tmp_path: Path) -> None:
    """The older one ends as superseded, every host ends on the newer release."""
    fleet = fleet_of(tmp_path, 4)
    older = fleet.deploy("1.1.0", max_parallel="1")
    for _ in range(8):
        fleet.step()
    newer = fleet.run(fleet.deploy("1.2.0"))
    assert fleet.state_of(older).status is DeploymentStatus.SUPERSEDED
    assert "1.2.0" in fleet.state_of(older).reason
    assert newer.state.status is DeploymentStatus.SUCCEEDED
    assert {host.runs for host in fleet.hosts.values()} == {"1.2.0"}


def test_an_aborted_deployment_gives_no_more_leases(tmp_path: Path) -> None:
    """Hosts in change finish, nobody else begins."""
    fleet = fleet_of(tmp_path, 4)
    walk = fleet.deploy(max_parallel="1")
    fleet.run(walk, until=lambda: fleet.most_in_change == 1)
    fleet.rollouts.order(walk, abort(walk.state, "ada", fleet.clock.now))
    for _ in range(60):
        fleet.step()
    assert fleet.state_of(walk).status is DeploymentStatus.ABORTED
    assert fleet.state_of(walk).reason == (
        "aborted by ada when 0 of 4 hosts had switched; in the middle, and finishing it: web-0001"
    )
    assert sorted(host.runs for host in fleet.hosts.values()) == ["1.0.0", "1.0.0", "1.0.0", "1.1.0"]


def test_a_paused_deployment_waits_without_its_clock_running(tmp_path: Path) -> None:
    """However long it is paused, it is not halted; resumed, it goes on to its end."""
    fleet = fleet_of(tmp_path, 3)
    walk = fleet.deploy(progress_deadline=60.0)
    fleet.step()
    fleet.rollouts.order(walk, pause(walk.state, "ada", fleet.clock.now))
    for _ in range(30):
        fleet.step(20)
    assert fleet.state_of(walk).status is DeploymentStatus.PAUSED
    assert {host.status for host in fleet.hosts.values()} == {HostStatus.STAGED}
    fleet.rollouts.order(walk, resume(walk.state, "ada", fleet.clock.now))
    assert fleet.run(walk).state.status is DeploymentStatus.SUCCEEDED


def test_a_pause_takes_back_leases_that_are_not_used_yet(tmp_path: Path) -> None:
    """Nobody begins to switch after `pause`, not even who was told it may, nor who hears of it late."""
    fleet = fleet_of(tmp_path, 4, Faults(step_time=5.0), Faults(step_time=5.0))
    walk = fleet.deploy(max_parallel="2")
    late = fleet.named("web-0002")
    fleet.run(walk, until=lambda: fleet.state_of(walk).has_begun_to_switch)
    late.faults.misses_signals = True
    fleet.rollouts.order(walk, pause(fleet.state_of(walk), "ada", fleet.clock.now))
    late.next_ask = late.next_step = fleet.clock.now + 2
    for _ in range(20):
        fleet.step()
    late.faults.misses_signals = False
    late.next_ask = fleet.clock.now
    fleet.step()
    signals = [event.verb for event in fleet.log.events_of(walk.state.deployment.id) if isinstance(event, Signalled)]
    assert signals.count(Verb.PAUSE) == 1
    assert fleet.named("web-0001").status is HostStatus.STAGED
    fleet.rollouts.order(walk, resume(fleet.state_of(walk), "ada", fleet.clock.now))
    assert fleet.run(walk).state.status is DeploymentStatus.SUCCEEDED
    assert fleet.most_in_change <= 2


def test_a_deployment_in_which_nothing_moves_is_halted(tmp_path: Path) -> None:
    """Beyond progress_deadline it stops with a sentence that names whom it waited for."""
    fleet = fleet_of(tmp_path, 2, Faults(step_time=500.0))
    walk = fleet.run(fleet.deploy(progress_deadline=100.0))
    assert walk.state.status is DeploymentStatus.FAILED
    assert walk.state.reason.startswith("nothing moved for 100s (progress_deadline), last waiting for web-0001")


def test_a_restored_backup_uses_no_number_twice(tmp_path: Path) -> None:
    """The controller goes on above what hosts have accepted, though its database forgot it."""
    fleet = fleet_of(tmp_path, 3)
    fleet.run(fleet.deploy("1.1.0", max_parallel="1"))
    fleet.database.dispose()
    backup = (tmp_path / "clarion.db").read_bytes()
    fleet.start_controller()
    fleet.run(fleet.deploy("1.2.0", max_parallel="1"))
    fleet.database.dispose()
    (tmp_path / "clarion.db").write_bytes(backup)
    fleet.start_controller()
    for _ in range(70):
        fleet.step()
    assert fleet.run(fleet.deploy("1.3.0")).state.status is DeploymentStatus.SUCCEEDED
    assert not [text for host in fleet.hosts.values() for text in host.refused if "equivocation" in text]


def test_one_lying_host_cannot_push_the_numbers_out_of_reach(tmp_path: Path) -> None:
    """A head beyond all reason is not believed, and everybody else goes on deploying."""
    fleet = fleet_of(tmp_path, 3)
    liar = fleet.named("web-0001")
    fleet.run(fleet.deploy("1.1.0"))
    lie = strict_json.dumps(Ask({"production/shop": Head(2**62, 2**62)}))
    fleet.rollouts.turn([Inbound(liar.id, Up.ASK, lie)])
    assert fleet.run(fleet.deploy("1.2.0")).state.status is DeploymentStatus.SUCCEEDED


def test_one_lying_host_cannot_fill_the_memory_or_the_log(tmp_path: Path) -> None:
    """Streams that it invents are remembered up to a bound, and what a real one is said to be is logged once."""
    fleet = fleet_of(tmp_path, 1)
    fleet.run(fleet.deploy())
    liar = fleet.named("web-0001")
    claims = [{f"production/x{number}": Head(1, 1)} for number in range(MAX_CLAIMED + 10)]
    claims += [{"production/shop": Head(number, 1)} for number in range(10, 20)]
    with capture_logs() as logged:
        fleet.rollouts.turn([Inbound(liar.id, Up.ASK, strict_json.dumps(Ask(heads))) for heads in claims])
    said = [entry["stream"] for entry in logged if entry["event"] == "stream.forgotten"]
    assert len(said) <= MAX_CLAIMED + 1
    assert said.count("production/shop") == 1
    assert fleet.rollouts.streams.next_deployment_seq("production/shop") == 20
    assert fleet.rollouts.streams.next_deployment_seq(f"production/x{MAX_CLAIMED + 9}") == 1


def test_a_host_cannot_speak_for_another(tmp_path: Path) -> None:
    """A report in another's name is refused and counted; nothing of it is recorded."""
    fleet = fleet_of(tmp_path, 2)
    walk = fleet.deploy()
    one, two = fleet.named("web-0001"), fleet.named("web-0002")
    two.receive(walk.envelope, fleet.clock.now)
    two.say(fleet.clock.now, HostStatus.COMMITTED)
    forged = [Inbound(one.id, Up.REPORT, body) for body in two.outbox.values()]
    two.outbox.clear()
    fleet.rollouts.turn(forged)
    assert fleet.rollouts.refused["signal.bad_signature"] == 1
    assert fleet.state_of(walk).count(lambda host: host.is_done) == 0


def test_a_report_that_was_recorded_is_acknowledged_again(tmp_path: Path) -> None:
    """When an acknowledgement got lost, the repeated report changes nothing and is acknowledged."""
    fleet = fleet_of(tmp_path, 1)
    host = fleet.named("web-0001")
    host.say(fleet.clock.now)
    kept = dict(host.outbox)
    fleet.rollouts.turn([Inbound(host.id, Up.REPORT, body) for body in kept.values()])
    host.outbox = dict(kept)
    fleet.rollouts.turn([Inbound(host.id, Up.REPORT, body) for body in kept.values()])
    assert host.outbox == {}


def test_a_removed_host_is_expected_nothing_of(tmp_path: Path) -> None:
    """It drops out of the counts, and the deployment ends without it."""
    fleet = fleet_of(tmp_path, 3, Faults(is_dead=True))
    walk = fleet.deploy(max_unreachable="0")
    gone = fleet.roster.named("production", "web-0001")
    assert gone
    fleet.roster.revoke(gone)
    fleet.rollouts.host_left(gone)
    assert fleet.run(walk).state.reason == "all 2 hosts run 1.1.0"


def test_reports_that_arrive_together_are_one_transaction(tmp_path: Path) -> None:
    """With 300 hosts, transactions follow turns, not hosts."""
    fleet = fleet_of(tmp_path, 300)
    commits: list[object] = []
    listen(fleet.database, "commit", commits.append)
    walk = fleet.run(fleet.deploy(type=Strategy.ALL_AT_ONCE))
    assert walk.state.status is DeploymentStatus.SUCCEEDED
    assert len(commits) < 40


def test_a_host_cannot_claim_what_only_the_controller_knows(tmp_path: Path) -> None:
    """A host that calls itself unreachable is not taken at its word."""
    fleet = fleet_of(tmp_path, 2, Faults(step_time=50.0))
    walk = fleet.deploy()
    liar = fleet.named("web-0001")
    liar.say(fleet.clock.now, HostStatus.UNREACHABLE)
    fleet.step()
    assert fleet.state_of(walk).count(lambda host: host.is_lost) == 0


def test_a_host_that_never_stops_talking_cannot_fill_the_log(tmp_path: Path) -> None:
    """Beyond what any honest host needs, what it says of a deployment is not recorded."""
    fleet = fleet_of(tmp_path, 1)
    walk = fleet.deploy()
    host = fleet.named("web-0001")
    for number in range(1200):
        host.say(fleet.clock.now, [HostStatus.PULLING, HostStatus.VERIFYING][number % 2])
    fleet.rollouts.turn([Inbound(host.id, Up.REPORT, body) for body in host.outbox.values()])
    assert len(fleet.log.events_of(walk.state.deployment.id)) < 600


def test_after_a_restart_what_is_outstanding_is_said_again(tmp_path: Path) -> None:
    """Every host was out of reach when it was told; it hears it from the new start, under a new number."""
    fleet = fleet_of(tmp_path, 3, *[Faults(silent_when=lambda _: True)] * 3)
    walk = fleet.deploy()
    fleet.start_controller()
    for host in fleet.hosts.values():
        host.faults.silent_when = lambda _: False
        host.receive(walk.envelope, fleet.clock.now)
    fleet.rollouts.resume()
    assert [len(host.todo) for host in fleet.hosts.values()] == [4, 4, 4]
    told = [event for event in fleet.log.events_of(walk.state.deployment.id) if isinstance(event, Signalled)]
    assert [event.verb for event in told] == [Verb.STAGE, Verb.STAGE]
    assert told[0].seq < told[1].seq


def test_a_join_that_a_full_disk_cut_off_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enrolled, but the deployments could not be told: a later turn tells them, and needs no restart."""
    fleet = fleet_of(tmp_path, 2)
    walk = fleet.run(fleet.deploy())
    fleet.step()
    joiner = fleet.join("web-0003")

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(fleet.rollouts, "_write", fill)
        with pytest.raises(OSError, match="No space"):
            fleet.rollouts.turn([])
    fleet.run(walk, until=lambda: joiner.status is HostStatus.COMMITTED, limit=200)


def test_a_full_disk_at_the_start_does_not_end_the_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is outstanding is said again as soon as it can be recorded."""
    fleet = fleet_of(tmp_path, 1)
    resume_really = fleet.rollouts.resume
    tries: list[str] = []

    async def play() -> None:
        resumed = asyncio.Event()

        def resume_at_last() -> None:
            tries.append("resume")
            if len(tries) == 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            resume_really()
            resumed.set()

        monkeypatch.setattr(fleet.rollouts, "resume", resume_at_last)
        running = asyncio.create_task(fleet.rollouts.run(Inbox()))
        await asyncio.wait_for(resumed.wait(), 10)
        running.cancel()

    asyncio.run(play())
    assert len(tries) == 2


def test_a_join_that_a_crash_cut_off_is_made_up_for(tmp_path: Path) -> None:
    """Enrolled or revoked, but the controller died before the deployments knew: the next start tells them."""
    fleet = fleet_of(tmp_path, 2)
    walk = fleet.run(fleet.deploy())
    fleet.step()
    fleet.rollouts.host_joined = lambda host: None  # type: ignore[method-assign]
    joiner = fleet.join("web-0003")
    gone = fleet.roster.named("production", "web-0001")
    assert gone
    fleet.roster.revoke(gone)
    fleet.hosts.pop(gone.id)
    fleet.start_controller()
    fleet.rollouts.resume()
    assert sorted(host.name for host in fleet.state_of(walk).hosts.values()) == ["web-0002", "web-0003"]
    fleet.run(walk, until=lambda: joiner.status is HostStatus.COMMITTED, limit=200)
