"""What people are told of builds."""

from __future__ import annotations

import pytest
from tests.controller.notifying.stories import Story, only

from clarion_controller.builds.build import BuildStatus
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.notice import Kind, Severity
from clarion_controller.notifying.builds import FORGOTTEN, Broken, withdraw
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


def test_the_next_tag_that_builds_repairs_those_before() -> None:
    """Nobody builds a release again under the same tag; each was told, and each ends. A branch is no tag."""
    story = Story()
    first, second, main = story.happens(
        finished(BuildStatus.FAILED, ref="refs/tags/v1"),
        finished(BuildStatus.FAILED, 2.0, ref="refs/tags/v2"),
        finished(BuildStatus.FAILED, 3.0),
    )
    told = story.happens(finished(BuildStatus.SUCCEEDED, 4.0, ref="refs/tags/v3", version="3"))
    assert [notice.incident for notice in told] == [first.incident, second.incident]
    assert [notice.reason.rpartition("built ")[2] for notice in told] == ["shop 3 as tag v3"] * 2
    assert only(story.happens(finished(BuildStatus.SUCCEEDED, 5.0))).incident == main.incident
    assert len({notice.id for notice in story.notices}) == 6


SHOP = Repository(url="https://github.com/acme/shop")
BROKEN = {f"shop {MAIN}": Broken(7, 100.0, 200.0)}


@pytest.mark.parametrize(
    ("repositories", "now", "why"),
    [
        pytest.param({"shop": SHOP}, 200.0 + FORGOTTEN, "", id="it may be repaired at any time"),
        pytest.param({"shop": SHOP}, 201.0 + FORGOTTEN, "30 days", id="nothing was built for a month"),
        pytest.param({"other": SHOP}, 300.0, "no [repository.shop]", id="the repository is gone"),
        pytest.param(
            {"shop": Repository(url=SHOP.url, branches=("release",))}, 300.0, "when it is pushed", id="another branch"
        ),
    ],
)
def test_what_nobody_builds_any_more_is_not_waited_for(
    repositories: dict[str, Repository], now: float, why: str
) -> None:
    """The branch that was deleted, the repository that is taken out: a pager must not ring on for them."""
    left, told = withdraw(BROKEN, repositories, now)
    if not why:
        assert (left, told) == (BROKEN, [])
        return
    ending = only(told)
    assert left == {}
    assert (ending.kind, ending.incident, ending.resolves) == (Kind.WITHDRAWN, "build-shop-7", True)
    assert why in ending.reason


def test_what_breaks_again_and_again_is_not_forgotten() -> None:
    """A month counts from the last build, not from the first that broke."""
    story = Story()
    story.happens(finished(BuildStatus.FAILED, 1.0), finished(BuildStatus.FAILED, 1.0 + FORGOTTEN))
    assert withdraw(story.known.builds, {"shop": SHOP}, 2.0 + FORGOTTEN) == (story.known.builds, [])
