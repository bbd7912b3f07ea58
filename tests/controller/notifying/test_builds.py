"""What people are told of builds."""

from __future__ import annotations

import pytest
from tests.controller.notifying.stories import Story, only

from clarion_controller.builds.build import BuildStatus
from clarion_controller.notice import Kind, Severity
from clarion_controller.notifying.builds import MAX_BROKEN
from clarion_controller.state.events import BuildFinished

MAIN = "refs/heads/main"


def finished(status: BuildStatus, at: float = 1.0, ref: str = MAIN, **other: str) -> BuildFinished:
    """Return the end of a build."""
    fields = {"build": "b1" * 16, "repository": "shop", "app": "shop", "commit": "c0ffee" + "0" * 34, **other}
    return BuildFinished(at=at, ref=ref, status=status.value, **fields)


def test_only_the_change_is_told() -> None:
    """Broken once, however many commits fail after the first; repaired once, with since when it was broken."""
    story = Story()
    broken = only(story.happens(finished(BuildStatus.FAILED, 1.0, reason="3 tests failed")))
    assert (broken.kind, broken.severity) == (Kind.BUILD_BROKEN, Severity.WARNING)
    assert broken.title == "build of shop broken: branch main"
    assert broken.reason == "commit c0ffee000000: 3 tests failed"
    assert broken.next_command == "clarion builds log b1b1b1b1"
    assert story.happens(finished(BuildStatus.FAILED, 2.0)) == []
    repaired = only(story.happens(finished(BuildStatus.SUCCEEDED, 3.0, version="abc")))
    assert (repaired.kind, repaired.resolves) == (Kind.BUILD_REPAIRED, True)
    assert (repaired.incident, repaired.since) == (broken.incident, 1.0)
    assert story.happens(finished(BuildStatus.SUCCEEDED, 4.0)) == []
    assert only(story.happens(finished(BuildStatus.FAILED, 5.0))).incident != broken.incident


@pytest.mark.parametrize("status", [BuildStatus.SUPERSEDED, BuildStatus.CANCELLED])
def test_a_build_that_did_not_come_to_its_end_changes_nothing(status: BuildStatus) -> None:
    """It says nothing about the source."""
    story = Story()
    assert story.happens(finished(status)) == []
    story.happens(finished(BuildStatus.FAILED))
    assert story.happens(finished(status)) == []
    assert len(story.happens(finished(BuildStatus.SUCCEEDED))) == 1


def test_each_ref_of_each_repository_stands_alone() -> None:
    """A green branch repairs no other, nor the same of another repository."""
    story = Story()
    story.happens(finished(BuildStatus.FAILED), finished(BuildStatus.FAILED, ref="refs/tags/v1"))
    assert [notice.title for notice in story.notices] == [
        "build of shop broken: branch main",
        "build of shop broken: tag v1",
    ]
    assert story.happens(finished(BuildStatus.SUCCEEDED, repository="other")) == []


def test_what_is_remembered_of_broken_refs_is_bounded() -> None:
    """Every tag that breaks stays broken."""
    story = Story()
    story.happens(*[finished(BuildStatus.FAILED, ref=f"refs/tags/v{number}") for number in range(MAX_BROKEN + 10)])
    assert len(story.known.builds) == MAX_BROKEN
