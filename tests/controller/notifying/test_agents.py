"""What people are told of agents that are lost, and back."""

from __future__ import annotations

from tests.controller.notifying.stories import Story, only

from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.agents import withdraw
from clarion_controller.state.events import AgentBack, AgentLost, HostRemoved, HostRevoked


def lost(*names: str, at: float, environment: str = "production") -> list[AgentLost]:
    """Return that agents are lost; they were last heard 90 s before."""
    return [AgentLost(at=at, host=name, name=name, environment=environment, since=at - 90) for name in names]


def back(*names: str, at: float) -> list[AgentBack]:
    """Return that agents are back."""
    return [AgentBack(at=at, host=name, name=name, environment="production", since=0.0) for name in names]


def told_lost(story: Story, *names: str) -> Notice:
    """Return the notice that agents are lost since time 10."""
    story.happens(*lost(*names, at=100.0))
    return only(story.waits(130.0))


def test_many_agents_lost_within_a_moment_are_one_notice() -> None:
    """A broken switch is one thing, although its hosts are missed over half a minute."""
    story = Story()
    story.happens(*lost("web-2", "web-1", at=100.0), *lost("web-3", at=120.0))
    assert story.waits(129.9) == []
    told = only(story.waits(130.0))
    assert (told.kind, told.severity) == (Kind.AGENT_LOST, Severity.ERROR)
    assert told.title == "3 agents are lost in production"
    assert told.affected == ("web-1", "web-2", "web-3")
    assert (told.since, told.at) == (10.0, 100.0)
    assert told.next_command == "clarion hosts -e production"


def test_one_agent_is_a_warning_under_its_name() -> None:
    """One server of many is no reason to wake anybody."""
    told = told_lost(Story(), "web-1")
    assert (told.title, told.severity) == ("web-1's agent is lost in production", Severity.WARNING)


def test_each_environment_is_told_by_itself() -> None:
    """Other people may care for it."""
    story = Story()
    story.happens(*lost("web-1", at=100.0), *lost("web-1s", at=100.0, environment="staging"))
    assert [notice.environment for notice in story.waits(130.0)] == ["production", "staging"]


def test_a_clock_that_was_set_back_keeps_nothing_back() -> None:
    """What was seen while it was a day ahead is told now, and does not swallow what is lost later."""
    story = Story()
    story.happens(*lost("web-1", at=86_500.0))
    assert only(story.waits(100.0)).affected == ("web-1",)
    story.happens(*lost("web-2", at=140.0))
    assert only(story.waits(170.0)).affected == ("web-2",)


def test_who_is_lost_later_is_another_incident() -> None:
    """A pager that was silenced for the first does not hide the second."""
    story = Story()
    first = told_lost(story, "web-1")
    story.happens(*lost("web-2", at=140.0))
    assert only(story.waits(200.0)).incident != first.incident


def test_who_is_recorded_late_is_an_incident_of_its_own() -> None:
    """What was told already does not grow."""
    story = Story()
    first = told_lost(story, "web-1")
    story.happens(*lost("web-2", at=125.0))
    second = only(story.waits(200.0))
    assert (second.incident != first.incident, second.affected) == (True, ("web-2",))


def test_all_back_is_told_once_at_once_and_ends_the_incident() -> None:
    """Nobody is left to wait for."""
    story = Story()
    opening = told_lost(story, "web-1", "web-2")
    told = only(story.happens(*back("web-1", "web-2", at=300.0)))
    assert (told.kind, told.severity, told.resolves) == (Kind.AGENT_BACK, Severity.INFO, True)
    assert (told.incident, told.since, told.affected) == (opening.incident, opening.since, ("web-1", "web-2"))
    assert story.waits(1e6) == []


def test_a_part_that_is_back_is_told_after_a_moment_and_ends_nothing() -> None:
    """It says who is still lost; the last one ends the incident."""
    story = Story()
    told_lost(story, "web-1", "web-2", "web-3")
    assert story.happens(*back("web-1", at=300.0), *back("web-2", at=310.0)) == []
    part = only(story.waits(330.0))
    assert (part.title, part.resolves) == ("2 agents are back in production", False)
    assert part.reason.endswith("still lost: web-3")
    assert only(story.happens(*back("web-3", at=400.0))).resolves


def test_who_is_back_before_it_was_told_as_lost_is_not_told_at_all() -> None:
    """A reboot that took a little long is nobody's business."""
    story = Story()
    story.happens(*lost("web-1", at=100.0), *back("web-1", at=120.0))
    assert story.waits(1e6) == []


def test_who_is_back_without_having_been_told_as_lost_is_not_told() -> None:
    """It was lost before people were first told anything."""
    assert Story().happens(*back("web-1", at=100.0)) == []


def test_a_revoked_host_is_not_told_as_lost_nor_as_back() -> None:
    """Whoever took it away knows."""
    story = Story()
    story.happens(*lost("web-1", at=100.0), HostRevoked(at=101.0, host="web-1", name="web-1", environment="production"))
    assert story.waits(1e6) == []


def test_an_incident_of_which_nobody_is_left_ends() -> None:
    """A pager must not ring on for servers that an autoscaler has taken away."""
    story = Story()
    opening = told_lost(story, "web-1", "web-2")
    told = story.happens(HostRemoved(at=200.0, host="web-1"), HostRemoved(at=201.0, host="web-2"))
    ending = only(told)
    assert (ending.incident, ending.resolves) == (opening.incident, True)
    assert ending.title == "web-2 is not in production any more"
    assert story.happens(*back("web-1", "web-2", at=300.0)) == []


def test_who_is_lost_twice_in_the_record_is_told_once() -> None:
    """A controller that forgot may say it again."""
    story = Story()
    told_lost(story, "web-1")
    story.happens(*lost("web-1", at=500.0))
    assert story.waits(1e6) == []


def test_agents_of_an_environment_that_is_taken_out_are_not_missed() -> None:
    """Those that were told end; those that were not yet are never told."""
    story = Story()
    opening = told_lost(story, "web-1")
    story.happens(*lost("web-2", at=500.0))
    left, told = withdraw(story.known.agents, {"staging"}, 510.0)
    assert left == ()
    assert (only(told).incident, only(told).resolves) == (opening.incident, True)
    assert withdraw(story.known.agents, {"production"}, 510.0) == (story.known.agents, [])
