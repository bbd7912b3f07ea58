"""What people are told of deployments."""

from __future__ import annotations

import pytest
from tests.controller.notifying.stories import NAMES, WEB_1, WEB_2, WEB_3, Story, deployment, kinds, only, rollback

from clarion_controller.notice import Kind, Severity
from clarion_controller.notifying.deployments import Deployments, withdraw
from clarion_controller.state.events import (
    AbsentGone,
    Halted,
    HostAdded,
    HostBack,
    HostLost,
    HostMoved,
    HostRemoved,
    StatusChanged,
)
from clarion_protocol.documents import Targets
from clarion_protocol.words import DeploymentStatus, HostStatus

SHOP = deployment()
NEXT = deployment("b" * 32, "1.2.0")


def moved(host: str, status: HostStatus, at: float = 1.0) -> HostMoved:
    """Return the event that a host stands somewhere."""
    return HostMoved(at=at, host=host, status=status)


def test_a_deployment_that_fails_is_told_with_all_that_one_needs_at_night() -> None:
    """What, where, since when, who, why, by whom, and the next command."""
    story = Story()
    story.accepts(SHOP, at=100.0)
    story.happens(moved(WEB_2, HostStatus.FAILED), Halted(at=150.0, reason="web-2 failed"), of=SHOP)
    told = only(story.ends(SHOP, DeploymentStatus.FAILED, at=151.0))
    assert (told.kind, told.severity) == (Kind.DEPLOYMENT_FAILED, Severity.ERROR)
    assert told.title == "shop 1.1.0 failed in production"
    assert told.reason == "it is failed (ordered by alice)"
    assert (told.since, told.at) == (150.0, 151.0)
    assert told.affected == ("web-2",)
    assert told.next_command == "clarion logs dddddddd"
    assert not told.resolves


def test_a_halt_that_goes_on_is_told_before_its_end() -> None:
    """Going back takes its time: people hear that it stopped, then how it ended, as one incident."""
    story = Story()
    story.accepts(SHOP)
    story.happens(moved(WEB_1, HostStatus.ROLLED_BACK), Halted(at=10.0, reason="web-1 failed"), of=SHOP)
    story.ends(SHOP, DeploymentStatus.ROLLING_BACK, at=10.0)
    assert story.waits(11.9) == []
    halted = only(story.waits(12.0))
    assert (halted.kind, halted.severity, halted.at) == (Kind.DEPLOYMENT_HALTED, Severity.WARNING, 10.0)
    back = only(story.ends(SHOP, DeploymentStatus.ROLLED_BACK, at=40.0))
    assert (back.kind, back.severity) == (Kind.ROLLED_BACK, Severity.WARNING)
    assert back.incident == halted.incident
    assert back.affected == ("web-1",)


@pytest.mark.parametrize("end", ["failed", "rolled_back", "aborted", "superseded"])
def test_a_halt_that_is_over_within_a_breath_is_not_told_by_itself(end: str) -> None:
    """How it ended says it all, if there is anything to say."""
    story = Story()
    story.accepts(SHOP)
    story.happens(Halted(at=10.0, reason="web-1 failed"), of=SHOP)
    story.ends(SHOP, DeploymentStatus(end), at=10.0)
    story.waits(1e6)
    assert Kind.DEPLOYMENT_HALTED.value not in kinds(story.notices)


def test_hosts_that_did_not_go_back_are_critical() -> None:
    """They run what has failed; the next command shows where."""
    story = Story()
    story.accepts(SHOP)
    story.ends(SHOP, DeploymentStatus.ROLLING_BACK, at=10.0)
    told = only(story.ends(SHOP, DeploymentStatus.FAILED, at=20.0))
    assert (told.severity, told.next_command) == (Severity.CRITICAL, "clarion status shop -e production")


def test_a_rollback_by_hand_is_told_and_ends_what_was_wrong() -> None:
    """The version is one that people chose: the incident of the failed one is over."""
    story = Story()
    story.accepts(SHOP)
    failed = only(story.ends(SHOP, DeploymentStatus.FAILED, at=10.0))
    story.accepts(rollback())
    back = only(story.ends(rollback(), DeploymentStatus.SUCCEEDED, at=20.0))
    assert (back.kind, back.severity, back.resolves) == (Kind.ROLLED_BACK, Severity.WARNING, True)
    assert back.title == "shop was rolled back to 1.0.0 in production"
    assert (back.incident, back.since) == (failed.incident, failed.since)


def test_a_rollback_by_hand_when_nothing_was_wrong_is_no_incident() -> None:
    """People hear of it; but somebody wanted it, so there is nothing that a pager would have to close."""
    story = Story()
    story.accepts(rollback())
    back = only(story.ends(rollback(), DeploymentStatus.SUCCEEDED, at=20.0))
    assert (back.kind, back.severity) == (Kind.ROLLED_BACK, Severity.WARNING)
    assert (back.incident, back.opens, back.resolves) == ("", False, False)


def test_what_is_wrong_with_all_is_not_ended_by_a_try_on_a_few_that_began_it() -> None:
    """First one host, then all of them fail: what works on one host again says nothing about the others."""
    story = Story()
    attempt = deployment("a" * 32, "1.0.9", targets=Targets(hosts=[WEB_1]))
    story.accepts(attempt)
    story.ends(attempt, DeploymentStatus.FAILED, at=10.0)
    story.accepts(SHOP)
    story.ends(SHOP, DeploymentStatus.FAILED, at=20.0)
    again = deployment("f" * 32, "1.2.0", targets=Targets(hosts=[WEB_1]))
    story.accepts(again)
    assert not only(story.ends(again, DeploymentStatus.SUCCEEDED, at=30.0)).resolves
    story.accepts(NEXT)
    assert only(story.ends(NEXT, DeploymentStatus.SUCCEEDED, at=40.0)).resolves


def test_an_environment_that_is_taken_out_has_nothing_wrong() -> None:
    """Its incidents end, and what still goes on there is followed no more."""
    story = Story()
    story.accepts(SHOP)
    failed = only(story.ends(SHOP, DeploymentStatus.FAILED, at=10.0))
    left, told = withdraw(story.known.deployments, {"staging"}, 50.0)
    ending = only(told)
    assert (ending.kind, ending.incident, ending.resolves) == (Kind.WITHDRAWN, failed.incident, True)
    assert (ending.title, ending.since) == ("shop in production is not watched any more", 10.0)
    assert left == Deployments()
    assert withdraw(story.known.deployments, {"production"}, 50.0) == (story.known.deployments, [])


def test_a_rollback_that_fails_says_that_it_is_one() -> None:
    """Nobody should think that the version it goes back to is new."""
    story = Story()
    story.accepts(rollback())
    assert only(story.ends(rollback(), DeploymentStatus.FAILED, at=1.0)).title.startswith("rollback of shop to 1.0.0")


def test_success_is_told_and_ends_the_incident_of_an_earlier_deployment() -> None:
    """The next version that works makes good what the one before broke; the one after that has nothing to end."""
    story = Story()
    story.accepts(SHOP)
    failed = only(story.ends(SHOP, DeploymentStatus.FAILED, at=10.0))
    story.accepts(NEXT)
    good = only(story.ends(NEXT, DeploymentStatus.SUCCEEDED, at=20.0))
    assert (good.kind, good.severity) == (Kind.DEPLOYMENT_SUCCEEDED, Severity.INFO)
    assert (good.incident, good.resolves) == (failed.incident, True)
    story.accepts(SHOP)
    assert not only(story.ends(SHOP, DeploymentStatus.SUCCEEDED, at=30.0)).resolves


def test_success_on_a_few_hosts_does_not_end_what_is_wrong_with_all() -> None:
    """A try on one host says nothing about the others."""
    story = Story()
    story.accepts(SHOP)
    story.ends(SHOP, DeploymentStatus.FAILED, at=10.0)
    attempt = deployment("a" * 32, "1.2.0", targets=Targets(hosts=[WEB_1]))
    story.accepts(attempt)
    assert not only(story.ends(attempt, DeploymentStatus.SUCCEEDED, at=20.0)).resolves
    story.accepts(NEXT)
    assert only(story.ends(NEXT, DeploymentStatus.SUCCEEDED, at=30.0)).resolves


@pytest.mark.parametrize("end", [DeploymentStatus.ABORTED, DeploymentStatus.SUPERSEDED])
def test_what_people_did_themselves_is_not_told(end: DeploymentStatus) -> None:
    """Whoever aborts a deployment, or orders the next, knows."""
    story = Story()
    story.accepts(SHOP)
    assert story.ends(SHOP, end, at=10.0) == []


def test_a_degraded_deployment_names_who_is_behind() -> None:
    """Lost hosts and those without agent; not who was lost for a while, or has left."""
    story = Story()
    story.accepts(SHOP, absent=["db-1", "db-2"])
    lost = [HostLost(at=2.0, host=host, reason="silent") for host in (WEB_1, WEB_2, WEB_3)]
    story.happens(*lost, HostBack(at=3.0, host=WEB_2), HostRemoved(at=4.0, host=WEB_3), of=SHOP)
    story.happens(AbsentGone(at=5.0, names=["db-2"]), of=SHOP)
    told = only(story.ends(SHOP, DeploymentStatus.DEGRADED, at=10.0))
    assert (told.kind, told.severity) == (Kind.DEPLOYMENT_DEGRADED, Severity.WARNING)
    assert told.title == "shop 1.1.0 is degraded in production: 2 hosts behind"
    assert told.affected == ("db-1", "web-1")
    assert told.next_command == "clarion status shop -e production"


def test_stragglers_of_one_moment_are_told_together() -> None:
    """Half a site that comes back is one notice; a host that was never behind is none."""
    story = Story()
    story.accepts(SHOP)
    story.happens(*[HostLost(at=2.0, host=host, reason="silent") for host in (WEB_1, WEB_2, WEB_3)], of=SHOP)
    degraded = only(story.ends(SHOP, DeploymentStatus.DEGRADED, at=10.0))
    story.happens(HostBack(at=20.0, host=WEB_1), HostBack(at=20.0, host=WEB_2), of=SHOP)
    committed = [moved(host, HostStatus.COMMITTED, at=21.0) for host in (WEB_1, WEB_2, [*NAMES][5])]
    assert story.happens(*committed, of=SHOP) == []
    told = only(story.waits(60.0))
    assert (told.kind, told.severity) == (Kind.STRAGGLER_CAUGHT_UP, Severity.INFO)
    assert told.affected == ("web-1", "web-2")
    assert told.reason.startswith("web-1, web-2 run 1.1.0; still behind: web-3")
    assert (told.incident, told.resolves) == (degraded.incident, False)


def test_the_last_straggler_is_told_before_the_success_that_it_makes() -> None:
    """After the end of an incident nothing is said of it."""
    story = Story()
    story.accepts(SHOP)
    story.happens(HostLost(at=2.0, host=WEB_1, reason="silent"), of=SHOP)
    degraded = only(story.ends(SHOP, DeploymentStatus.DEGRADED, at=10.0))
    story.happens(moved(WEB_1, HostStatus.COMMITTED, at=20.0), of=SHOP)
    caught_up, good = story.ends(SHOP, DeploymentStatus.SUCCEEDED, at=20.0)
    assert kinds([caught_up, good]) == ["straggler_caught_up", "deployment_succeeded"]
    assert (good.incident, good.resolves) == (degraded.incident, True)
    assert story.waits(1e6) == []


def test_a_host_that_got_its_agent_later_catches_up_under_the_name_it_had() -> None:
    """It was counted without agent, and is what was waited for."""
    story = Story()
    story.accepts(SHOP, absent=["db-1"])
    story.ends(SHOP, DeploymentStatus.DEGRADED, at=10.0)
    story.happens(HostAdded(at=20.0, host="f" * 32, name="db-1", fills="db-1"), of=SHOP)
    story.happens(moved("f" * 32, HostStatus.COMMITTED, at=30.0), of=SHOP)
    assert only(story.waits(1e6)).affected == ("db-1",)


def test_a_lost_host_that_goes_back_later_has_caught_up_as_well() -> None:
    """A rollback left it behind; that it went back is what one waited for."""
    story = Story()
    story.accepts(SHOP)
    story.happens(HostLost(at=2.0, host=WEB_1, reason="silent"), of=SHOP)
    story.ends(SHOP, DeploymentStatus.ROLLED_BACK, at=10.0)
    story.happens(moved(WEB_1, HostStatus.ROLLED_BACK, at=20.0), of=SHOP)
    assert "went back from 1.1.0" in only(story.waits(1e6)).reason


def test_a_newer_deployment_takes_the_stragglers_of_the_one_before() -> None:
    """They are the newer one's business."""
    story = Story()
    story.accepts(SHOP)
    story.happens(HostLost(at=2.0, host=WEB_1, reason="silent"), of=SHOP)
    story.ends(SHOP, DeploymentStatus.DEGRADED, at=10.0)
    story.accepts(NEXT, at=20.0)
    story.happens(moved(WEB_1, HostStatus.COMMITTED, at=21.0), of=SHOP)
    assert story.waits(1e6) == []


def test_a_deployment_that_began_before_anybody_listened_is_told_all_the_same() -> None:
    """Notices that are switched on in the middle of a rollout say how it ends."""
    assert kinds(Story().ends(SHOP, DeploymentStatus.FAILED, at=10.0)) == ["deployment_failed"]


@pytest.mark.parametrize("end", [DeploymentStatus.FAILED, DeploymentStatus.SUCCEEDED])
def test_checks_between_servers_are_no_incident(end: DeploymentStatus) -> None:
    """Somebody typed `clarion integration` and watches; all of them are one app, and none may end another's trouble."""
    story, check = Story(), deployment(app="clarion-integration", stream="production/clarion-integration")
    story.accepts(check)
    story.happens(moved(WEB_1, HostStatus.FAILED), Halted(at=2.0, reason="web-1 failed"), of=check)
    story.ends(check, end, at=9.0)
    assert story.waits(1e6) == story.notices == []


def test_a_deployment_whose_document_cannot_be_read_is_passed_over() -> None:
    """There is nothing that could be said of it, and the rest of the log goes on."""
    assert Story().happens(StatusChanged(at=1.0, status=DeploymentStatus.FAILED, reason="")) == []
