"""The queue of builds: what counts once, what supersedes what, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.controller.builds.pushing import MAIN, A, B, C, pushed

from clarion_controller.builds.build import BuildStatus, Push
from clarion_controller.builds.build_queue import FINISHED, KEPT_BUILDS, MOST_TAKES, STARTED, BuildQueue
from clarion_controller.builds.give_up import SILENT_AFTER_S
from clarion_protocol.errors import Blocked, UnknownName

TAG = "refs/tags/v1.0"


class Clock:
    """A clock that stands until somebody moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands."""
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[BuildQueue]:
    """Return an empty queue."""
    queue = BuildQueue(tmp_path / "builds.db", clock)
    yield queue
    queue.close()


def stands(queue: BuildQueue) -> list[tuple[str, str]]:
    """Return the commit's letter and the status of each build, oldest first."""
    return [(build.commit[0], build.status.value) for build in reversed(queue.newest(limit=1000))]


def test_a_push_is_queued_and_taken_oldest_first(queue: BuildQueue) -> None:
    """Each build is given to one builder."""
    assert queue.push(pushed(A), "shop")
    assert queue.push(pushed(B, "refs/heads/next"), "shop")
    first, second = queue.take(), queue.take()
    assert first
    assert second
    assert (first[0].commit, second[0].commit) == (A, B)
    assert first[0].status is BuildStatus.RUNNING
    assert queue.take() is None


def test_a_delivery_counts_once(queue: BuildQueue) -> None:
    """Also when its build is long over; of another repository it is another delivery."""
    assert queue.push(pushed(A, delivery="1"), "shop")
    queue.cancel(queue.newest()[0].id, "ada")
    assert not queue.push(pushed(B, delivery="1"), "shop")
    other = Push(repository="other", ref=MAIN, commit=A, delivery="1", at=1.0)
    assert queue.push(other, "other")
    assert len(queue.newest()) == 2


def test_what_a_delivery_signed_counts_once_whatever_its_number(queue: BuildQueue) -> None:
    """Who caught a signed body cannot have it built again under a number of his own."""
    assert queue.push(pushed(A, delivery="1", digest="d"), "shop")
    assert queue.push(pushed(B, delivery="2", digest="e"), "shop")
    assert not queue.push(pushed(A, delivery="3", digest="d"), "shop")
    assert stands(queue) == [("a", "superseded"), ("b", "queued")]


def test_a_newer_push_to_a_branch_supersedes_what_waits_and_what_runs(queue: BuildQueue) -> None:
    """Other branches, and other repositories, are left alone."""
    queue.push(pushed(A), "shop")
    queue.push(pushed(A, "refs/heads/next"), "shop")
    queue.take()
    queue.push(pushed(B), "shop")
    queue.push(pushed(C), "shop")
    assert stands(queue) == [("a", "superseded"), ("a", "queued"), ("b", "superseded"), ("c", "queued")]
    assert queue.newest()[-1].reason == f"superseded by {B[:12]}"


def test_an_announcement_that_was_overtaken_supersedes_nothing(queue: BuildQueue) -> None:
    """Two pushes in the same moment may be announced in the other order; the newer is built, also if it is over."""
    queue.push(pushed(C, before=B), "shop")
    assert not queue.push(pushed(B, before=A), "shop")
    assert stands(queue) == [("c", "queued")]
    queue.cancel(queue.newest()[0].id, "ada")
    assert not queue.push(pushed(B, before=A, delivery="again"), "shop")
    assert stands(queue) == [("c", "cancelled")]


def test_a_branch_may_go_back(queue: BuildQueue) -> None:
    """What it was before is built again when it is pushed again, by a forge or by hand."""
    queue.push(pushed(B, before=A), "shop")
    queue.push(pushed(A, before=B), "shop")
    queue.push(pushed(B, before=A, delivery="2"), "shop")
    queue.push(pushed(A, delivery="by hand"), "shop")
    assert stands(queue) == [("b", "superseded"), ("a", "superseded"), ("b", "superseded"), ("a", "queued")]


def test_tags_never_supersede_each_other(queue: BuildQueue) -> None:
    """Both versions are wanted, even where a tag was moved."""
    queue.push(pushed(A, TAG), "shop")
    queue.push(pushed(B, TAG), "shop")
    queue.push(pushed(C, "refs/tags/v1.1"), "shop")
    assert stands(queue) == [("a", "queued"), ("b", "queued"), ("c", "queued")]


@pytest.mark.parametrize("ref", [MAIN, TAG])
def test_the_same_commit_is_not_built_twice_at_once(queue: BuildQueue, ref: str) -> None:
    """Announced again while it waits or runs, it goes on."""
    queue.push(pushed(A, ref, "1"), "shop")
    assert queue.push(pushed(A, ref, "2"), "shop")
    queue.take()
    assert queue.push(pushed(A, ref, "3"), "shop")
    assert stands(queue) == [("a", "running")]


def test_a_push_of_an_older_commit_is_built_again(queue: BuildQueue) -> None:
    """A branch that was set back is built as it is now."""
    queue.push(pushed(A, delivery="1"), "shop")
    queue.take()
    queue.push(pushed(B, delivery="2"), "shop")
    queue.push(pushed(A, delivery="3"), "shop")
    assert stands(queue) == [("a", "superseded"), ("b", "superseded"), ("a", "queued")]


def test_a_branch_set_back_to_what_is_being_published_ends_there(queue: BuildQueue) -> None:
    """What would be built in between is superseded, so that the branch's last word is deployed last."""
    queue.push(pushed(A, delivery="1"), "shop")
    publish_next(queue)
    queue.push(pushed(B, delivery="2"), "shop")
    queue.push(pushed(A, delivery="3"), "shop")
    assert stands(queue) == [("a", "publishing"), ("b", "superseded"), ("a", "queued")]


def publish_next(queue: BuildQueue) -> str:
    """Take the next build, and have it end green; return its id."""
    taken = queue.take()
    assert taken
    assert queue.finish(taken[0].id, taken[1], BuildStatus.PUBLISHING, version="1.0")
    return taken[0].id


def test_only_who_took_a_build_may_speak_of_it(queue: BuildQueue) -> None:
    """Not who guesses, not with nothing, and not who took it before it was given to another."""
    queue.push(pushed(A), "shop")
    build = queue.newest()[0]
    with pytest.raises(UnknownName):
        queue.taken(build.id, "")
    taken = queue.take()
    assert taken
    assert queue.taken(*(build.id, taken[1])).id == build.id
    with pytest.raises(UnknownName):
        queue.taken(build.id, "0" * 32)
    assert not queue.finish(build.id, "0" * 32, BuildStatus.FAILED)


def test_a_build_whose_builder_went_silent_is_built_again_once(queue: BuildQueue, clock: Clock) -> None:
    """The second time it fails; whoever comes back late has no say any more."""
    queue.push(pushed(A), "shop")
    first = queue.take()
    assert first
    clock.now += SILENT_AFTER_S - 1
    assert queue.give_up_silent() == []
    queue.taken(first[0].id, first[1])
    clock.now += SILENT_AFTER_S - 1
    assert queue.give_up_silent() == []
    clock.now += 2
    assert [build.status for build in queue.give_up_silent()] == [BuildStatus.QUEUED]
    with pytest.raises(UnknownName):
        queue.taken(first[0].id, first[1])
    second = queue.take()
    assert second
    assert not queue.finish(first[0].id, first[1], BuildStatus.PUBLISHING)
    clock.now += SILENT_AFTER_S + 1
    assert [build.status for build in queue.give_up_silent()] == [BuildStatus.FAILED]
    assert queue.newest()[0].reason == "its builder went silent twice"


def test_a_build_that_is_given_back_waits_again_as_often_as_it_is(queue: BuildQueue) -> None:
    """A builder that is stopped is no fault of the build's, and only who took it may give it back."""
    queue.push(pushed(A), "shop")
    for _ in range(2 * MOST_TAKES):
        taken = queue.take()
        assert taken
        assert not queue.give_back(taken[0].id, "0" * 32)
        assert queue.give_back(taken[0].id, taken[1])
        assert not queue.give_back(taken[0].id, taken[1])
        build = queue.newest()[0]
        assert (build.status, build.started_at) == (BuildStatus.QUEUED, None)
    queue.take()
    queue.cancel(queue.newest()[0].id, "ada")
    assert queue.take() is None


def test_the_end_of_a_build_that_was_given_back_is_told(queue: BuildQueue) -> None:
    """Its beginning was, and a forge would wait for ever."""
    queue.push(pushed(A), "shop")
    taken = queue.take()
    assert taken
    queue.set_told({taken[0].id: STARTED})
    queue.give_back(taken[0].id, taken[1])
    assert queue.untold() == []
    queue.push(pushed(B), "shop")
    assert [(build.status, told) for build, told in queue.untold()] == [(BuildStatus.SUPERSEDED, STARTED)]


def test_a_controller_that_was_away_does_not_blame_the_builder(tmp_path: Path, clock: Clock) -> None:
    """After a start the builder has its two minutes."""
    queue = BuildQueue(tmp_path / "builds.db", clock)
    queue.push(pushed(A), "shop")
    queue.take()
    queue.close()
    clock.now += 10 * SILENT_AFTER_S
    queue = BuildQueue(tmp_path / "builds.db", clock)
    assert queue.give_up_silent() == []
    clock.now += SILENT_AFTER_S + 1
    assert len(queue.give_up_silent()) == 1
    queue.close()


def test_what_waits_or_runs_can_be_cancelled_and_nothing_else(queue: BuildQueue) -> None:
    """What is being published is published."""
    queue.push(pushed(A), "shop")
    build = queue.newest()[0]
    assert queue.cancel(build.id, "ada").reason == "cancelled by ada"
    queue.push(pushed(B), "shop")
    published = publish_next(queue)
    with pytest.raises(Blocked, match="is being published, too late"):
        queue.cancel(published, "ada")


def test_a_build_is_found_by_the_beginning_of_its_id(queue: BuildQueue) -> None:
    """If only one begins so; "%" is no joker."""
    for commit in (A, B, C):
        queue.push(pushed(commit, TAG), "shop")
    ids = [build.id for build in queue.newest()]
    assert queue.find(ids[0]).id == ids[0]
    assert queue.find(ids[0][:12]).id == ids[0]
    for prefix in ("", "%", "x"):
        with pytest.raises(UnknownName):
            queue.find(prefix)


def test_the_record_is_told_of_each_start_and_end_once(queue: BuildQueue) -> None:
    """What never started has no end; what was told is not told again."""
    queue.push(pushed(A), "shop")
    assert queue.untold() == []
    id_ = publish_next(queue)
    assert [(build.id, told) for build, told in queue.untold()] == [(id_, 0)]
    queue.set_told({id_: STARTED})
    assert queue.untold() == []
    queue.publish_ended(id_, BuildStatus.SUCCEEDED, deployed_to="production")
    assert [(build.deployed_to, told) for build, told in queue.untold()] == [("production", STARTED)]
    queue.set_told({id_: FINISHED})
    assert queue.untold() == []


def test_old_builds_are_forgotten(queue: BuildQueue) -> None:
    """The newest stay, of each repository; what is not over or not told stays in any case."""
    queue.push(pushed(C, TAG), "shop")
    waiting = queue.newest()[0].id
    queue.push_all([(pushed(A, delivery=f"a{n}", ref=f"refs/heads/b{n}"), "shop") for n in range(KEPT_BUILDS + 20)])
    for build in queue.newest(limit=1000)[:-1]:
        queue.cancel(build.id, "ada")
    newest = [build.id for build in queue.newest(limit=KEPT_BUILDS)]
    assert queue.prune() == {waiting, *newest}
    assert len(queue.newest(limit=1000)) == KEPT_BUILDS + 1


KILLED = """
import sys
from pathlib import Path
from tests.controller.builds.pushing import pushed
from clarion_controller.builds.build_queue import BuildQueue
queue = BuildQueue(Path(sys.argv[1]))
for number in range(100_000):
    queue.push(pushed(f"{number:040x}", delivery=str(number)), "shop")
    print(number, flush=True)
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Killed at any point, the queue holds every push that was answered, at most one more, and one that is wanted."""
    path = tmp_path / "builds.db"
    root = Path(__file__).parents[3]
    for wait in (1, 37, 90):
        command = [sys.executable, "-c", KILLED, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
            assert process.stdout
            for _ in range(wait):
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            answered = wait + len(process.stdout.read().splitlines())
        queue = BuildQueue(path)
        builds = queue.newest(limit=100_000)
        assert 0 <= len(builds) - answered <= 1
        assert [build.status for build in builds if not build.status.is_final] == [BuildStatus.QUEUED]
        queue.close()
        path.unlink()
