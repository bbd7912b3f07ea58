"""Whose agents are lost and whose are back: over a fleet in memory, with the real record and simulated time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.controller.fake_fleet import FakeFleet, fleet_of

from clarion_controller.presence import LOOK_EVERY_S, Presence
from clarion_controller.state.events import AgentBack, AgentLost, HostRemoved
from clarion_protocol.errors import CloudUnavailable

UNREACHABLE_AFTER = 90.0


class Watch:
    """A fleet and who watches it."""

    def __init__(self, folder: Path, count: int) -> None:
        self.fleet = fleet_of(folder, count)
        self.start()

    def start(self) -> None:
        """Start to watch, or start again from what was recorded."""
        fleet = self.fleet
        self.presence = Presence(
            fleet.log, fleet.roster, fleet.rollouts, fleet.members, UNREACHABLE_AFTER, clock=fleet.clock
        )
        asyncio.run(self.presence.remember())

    def restart(self, away: float = 0.0) -> None:
        """Start the controller again, after it was away for some seconds."""
        self.fleet.clock.now += away
        self.fleet.start_controller()
        self.start()

    def passes(self, seconds: float) -> list[str]:
        """Let time pass, and return what was recorded meanwhile."""
        before = len(self.record())
        for _ in range(round(seconds / LOOK_EVERY_S)):
            self.fleet.step(LOOK_EVERY_S)
            asyncio.run(self.presence.look())
        return self.record()[before:]

    def record(self) -> list[str]:
        """Return all that was recorded, one short line each."""
        events = self.fleet.log.events_of_kinds(AgentLost, AgentBack)
        return [f"{type(event).__name__} {event.name}" for event in events if isinstance(event, (AgentLost, AgentBack))]

    def silence(self, *names: str, dead: bool = True) -> None:
        """Have hosts say nothing any more, or speak again."""
        for name in names:
            self.fleet.named(name).faults.is_dead = dead


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Return four hosts that are there, and have been for a while."""
    made = Watch(tmp_path, 4)
    assert made.passes(200) == []
    return made


def last(fleet: FakeFleet, kind: type[AgentLost] | type[AgentBack]) -> AgentLost | AgentBack:
    """Return the newest event of a kind."""
    event = fleet.log.events_of_kinds(kind)[-1]
    assert isinstance(event, kind)
    return event


def test_who_falls_silent_is_recorded_once_and_who_speaks_again_once(watch: Watch) -> None:
    """With when it was last heard, however long that lasts."""
    heard = watch.fleet.clock.now
    watch.silence("web-0001")
    assert watch.passes(80) == []
    assert watch.passes(600) == ["AgentLost web-0001"]
    assert heard - 30 <= last(watch.fleet, AgentLost).since <= heard
    watch.silence("web-0001", dead=False)
    assert watch.passes(600) == ["AgentBack web-0001"]
    assert heard - 30 <= last(watch.fleet, AgentBack).since <= heard


def test_those_of_one_moment_are_recorded_together(watch: Watch) -> None:
    """One batch, with one time."""
    watch.silence("web-0001", "web-0002", "web-0003")
    watch.passes(200)
    assert len({event.at for event in watch.fleet.log.events_of_kinds(AgentLost)}) == 1


def test_nobody_is_lost_because_the_controller_was_away(watch: Watch) -> None:
    """After a start, the time counts from the start: all have the chance to come back."""
    watch.restart(away=3600)
    watch.silence("web-0001")
    assert watch.passes(80) == []
    assert watch.passes(60) == ["AgentLost web-0001"]


@pytest.mark.parametrize("gap", [3600.0, -3600.0], ids=["asleep", "the clock was set back"])
def test_nobody_is_lost_because_the_machine_was_not_there(watch: Watch, gap: float) -> None:
    """A machine that slept, or whose clock jumped, heard nobody meanwhile."""
    watch.fleet.clock.now += gap
    since = watch.fleet.clock.now
    for host in watch.fleet.hosts.values():
        host.faults.silent_when = lambda now: now < since + 70
    assert watch.passes(200) == []


def test_who_was_lost_before_a_start_is_not_lost_again(watch: Watch) -> None:
    """The record knows; that it is back is still recorded."""
    watch.silence("web-0001")
    watch.passes(200)
    watch.restart()
    assert watch.passes(300) == []
    watch.silence("web-0001", dead=False)
    assert watch.passes(100) == ["AgentBack web-0001"]


def test_a_revoked_host_is_not_missed(watch: Watch) -> None:
    """Neither before nor after it counted as lost."""
    for name in ("web-0001", "web-0002"):
        watch.silence(name)
        host = watch.fleet.roster.named("production", name)
        assert host
        if name == "web-0002":
            watch.passes(200)
        watch.fleet.roster.revoke(host)
        watch.fleet.rollouts.host_left(host)
    assert watch.passes(300) == []
    assert watch.record() == ["AgentLost web-0002"]


def test_a_host_that_an_autoscaler_took_away_is_not_missed(watch: Watch) -> None:
    """It is silent for good, and rightly so; another that stays listed is missed."""
    watch.fleet.list_all()
    watch.fleet.terminate("web-0001")
    watch.silence("web-0002")
    assert watch.passes(300) == ["AgentLost web-0002"]


def test_who_was_lost_and_leaves_the_fleet_is_recorded_as_gone_once(watch: Watch) -> None:
    """No deployment has a part in it here, and people wait to hear how it ended; also after a start."""
    watch.fleet.list_all()
    watch.silence("web-0001")
    assert watch.passes(150) == ["AgentLost web-0001"]
    watch.fleet.terminate("web-0001")
    watch.passes(100)
    watch.restart()
    watch.passes(100)
    (gone,) = watch.fleet.log.events_of_kinds(HostRemoved)
    assert isinstance(gone, HostRemoved)
    assert gone.host == last(watch.fleet, AgentLost).host


def test_while_nobody_knows_who_belongs_to_the_fleet_silence_counts(watch: Watch) -> None:
    """A cloud that does not answer must not hide that servers are gone."""
    watch.fleet.trouble = CloudUnavailable("aws does not answer")
    watch.silence("web-0001")
    assert watch.passes(300) == ["AgentLost web-0001"]


def test_who_has_just_joined_gets_time_to_start(watch: Watch) -> None:
    """An agent that joins speaks a little later."""
    watch.fleet.join("web-0005")
    joined = watch.fleet.clock.now
    watch.silence("web-0005")
    assert watch.passes(80) == []
    assert watch.passes(60) == ["AgentLost web-0005"]
    assert last(watch.fleet, AgentLost).since == joined


def test_a_clock_that_is_set_back_hides_nobody(watch: Watch) -> None:
    """Who was lost stays lost, and who falls silent an hour before it was last heard is missed all the same."""
    watch.silence("web-0001")
    assert watch.passes(150) == ["AgentLost web-0001"]
    watch.fleet.clock.now -= 3600
    for host in watch.fleet.hosts.values():
        host.next_word = host.next_ask = 0.0  # their own clocks go on
    assert watch.passes(300) == []
    watch.silence("web-0002")
    assert watch.passes(300) == ["AgentLost web-0002"]
    watch.silence("web-0001", "web-0002", dead=False)
    assert watch.passes(60) == ["AgentBack web-0001", "AgentBack web-0002"]
