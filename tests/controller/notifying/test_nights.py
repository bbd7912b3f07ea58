"""What people are told of nights."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from tests.controller.notifying.stories import Story, kinds, only

from clarion_controller.api.nightly_routes import event_of
from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.notice import Kind, Severity
from clarion_controller.state.events import NightlyFinished

REBUILD, WEB, DATABASE = "rebuild shop", "server production/web", "server production/db"


def night(day: int, broken: Sequence[str] = (), working: Sequence[str] = (REBUILD, WEB, DATABASE)) -> NightlyFinished:
    """Return how a night ended; what is broken began the same night."""
    works = [name for name in working if name not in broken]
    date = f"2026-11-{day:02}"
    reasons = dict.fromkeys(broken, "libfoo 2 is gone")
    return NightlyFinished(
        at=float(day), night=date, broken=reasons, since=dict.fromkeys(broken, date), works=len(works), working=works
    )


def test_what_newly_breaks_is_told_once_and_once_when_it_works_again() -> None:
    """With the reason, the checks, and the night since when."""
    story = Story()
    assert story.happens(night(1)) == []
    broken = only(story.happens(night(2, [REBUILD])))
    assert (broken.kind, broken.severity) == (Kind.NIGHTLY_BROKEN, Severity.WARNING)
    assert broken.title == "nightly of 2026-11-02 broken: rebuild shop"
    assert broken.reason == "libfoo 2 is gone (since 2026-11-02); 1 check broken, 2 working"
    assert broken.affected == (REBUILD,)
    assert story.happens(night(3, [REBUILD])) == []
    repaired = only(story.happens(night(4)))
    assert (repaired.kind, repaired.resolves, repaired.incident) == (Kind.NIGHTLY_REPAIRED, True, broken.incident)
    assert repaired.reason == "was broken since 2026-11-02; now 3 checks working"
    assert story.happens(night(5)) == []


def test_what_breaks_in_a_later_night_is_told_by_itself() -> None:
    """As an incident of its own; what was told before is only mentioned."""
    story = Story()
    first = only(story.happens(night(2, [REBUILD])))
    second = only(story.happens(night(3, [REBUILD, WEB])))
    assert second.affected == (WEB,)
    assert second.reason.endswith("also broken, since earlier: rebuild shop")
    told = story.happens(night(4))
    assert [notice.incident for notice in told] == [first.incident, second.incident]
    assert len({notice.id for notice in told}) == 2


def test_a_part_that_works_again_is_told_and_ends_nothing() -> None:
    """The rest is named, and ends it."""
    story = Story()
    both = only(story.happens(night(2, [REBUILD, WEB])))
    assert both.reason == "rebuild shop: libfoo 2 is gone (since 2026-11-02); 2 checks broken, 1 working"
    part = only(story.happens(night(3, [WEB])))
    assert (part.affected, part.resolves) == ((REBUILD,), False)
    assert "still broken: server production/web" in part.reason
    assert only(story.happens(night(4))).resolves


def test_what_was_not_checked_is_not_repaired() -> None:
    """A check that was skipped, or a night that only did a part of the work, proves nothing."""
    story = Story()
    story.happens(night(2, [WEB]))
    assert story.happens(night(3, working=[REBUILD])) == []
    assert story.happens(night(4, [WEB])) == []
    assert only(story.happens(night(5))).resolves


def test_a_night_that_did_not_come_to_its_end_is_told_as_such() -> None:
    """And repaired by the next that does, whatever else it finds."""
    story = Story()
    ended = Report(night="2026-11-02", began=0.0, ended=1.0, failure="the deadline of 6h passed")
    assert only(story.happens(event_of(ended, 2.0))).title == "nightly of 2026-11-02 broken: the night"
    check = Check(name=REBUILD, result=Result.BROKEN, since="2026-11-03")
    after = Report(night="2026-11-03", began=0.0, ended=1.0, checks=(check,))
    assert kinds(story.happens(event_of(after, 3.0))) == ["nightly_repaired", "nightly_broken"]


def test_a_check_that_there_is_no_more_is_not_waited_for() -> None:
    """Its role or its app was taken out: after a week in which no night said a word of it, its incident ends."""
    story = Story()
    gone = only(story.happens(later(1, [WEB])))
    assert [told for day in range(2, 9) for told in story.happens(later(day, working=[REBUILD]))] == []
    ending = only(story.happens(later(9, working=[REBUILD])))
    assert (ending.kind, ending.incident, ending.resolves) == (Kind.WITHDRAWN, gone.incident, True)
    assert only(story.happens(later(10, [WEB]))).kind is Kind.NIGHTLY_BROKEN


def test_what_stays_broken_keeps_the_incident_and_not_what_is_gone() -> None:
    """The rest of the same night ends it."""
    story = Story()
    both = only(story.happens(later(1, [WEB, REBUILD])))
    assert [told for day in range(2, 12) for told in story.happens(later(day, [REBUILD], working=[]))] == []
    ending = only(story.happens(later(12, working=[REBUILD])))
    assert (ending.incident, ending.resolves, ending.affected) == (both.incident, True, (REBUILD,))


def later(day: int, broken: Sequence[str] = (), working: Sequence[str] = (REBUILD, WEB, DATABASE)) -> NightlyFinished:
    """Return how a night ended, at its time."""
    return replace(night(day, broken, working), at=day * 86_400.0)
