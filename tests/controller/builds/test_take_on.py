"""What pushes begin and end in the queue, in whatever order they are announced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.controller.builds.pushing import MAIN, A, B, C, pushed
from tests.effort import examples

from clarion_controller.builds.build import Build, BuildStatus, Push
from clarion_controller.builds.build_queue import BuildQueue

D, Z = "d" * 40, "f" * 40
NEXT, TAG = "refs/heads/next", "refs/tags/v1.0"
COMMITS = [f"{number:040x}" for number in range(1, 7)]
OVERTAKEN = [pushed(C, before=B), pushed(A, before=Z), pushed(B, before=A)]


@contextmanager
def a_queue() -> Iterator[BuildQueue]:
    """Have an empty queue within a `with` block, on a disk that is fast: a property writes to it thousands of times."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        queue = BuildQueue(Path(folder) / "builds.db")
        yield queue
        queue.close()


def announce(queue: BuildQueue, *pushes: Push) -> list[bool]:
    """Announce pushes of the shop, one by one; return what was answered."""
    return [queue.push(each, "shop") for each in pushes]


def stands(queue: BuildQueue) -> list[tuple[str, str]]:
    """Return the commit's letter and the status of each build, oldest first."""
    return [(build.commit[0], build.status.value) for build in reversed(queue.newest(limit=1000))]


def work(queue: BuildQueue, ends: BuildStatus) -> None:
    """Build what waits longest, if anything does, up to the status `ends`."""
    if taken := queue.take():
        build, taken_as = taken
        if ends is BuildStatus.FAILED:
            queue.finish(build.id, taken_as, ends, reason="red")
        elif ends is not BuildStatus.RUNNING:
            queue.finish(build.id, taken_as, BuildStatus.PUBLISHING, version=build.commit[:12])
        if ends is BuildStatus.SUCCEEDED:
            queue.publish_ended(build.id, ends)


def counting(queue: BuildQueue, ref: str) -> list[Build]:
    """Return the builds of a branch that were not superseded, newest first."""
    return [each for each in queue.newest(limit=1000) if each.ref == ref and each.status is not BuildStatus.SUPERSEDED]


def test_the_newest_of_three_that_overtook_each_other_is_built() -> None:
    """It was taken for older when the second came, and is queued again; the one that came last is not built."""
    with a_queue() as queue:
        assert announce(queue, *OVERTAKEN) == [True, True, False]
        assert stands(queue) == [("c", "superseded"), ("a", "superseded"), ("c", "queued")]
        assert [build.reason for build in queue.newest()] == ["", f"superseded by {C[:12]}", f"superseded by {A[:12]}"]


def test_what_went_on_in_spite_of_it_is_not_built_twice() -> None:
    """The newest is being published and nothing else got as far: it stays the last word."""
    with a_queue() as queue:
        announce(queue, OVERTAKEN[0])
        work(queue, BuildStatus.PUBLISHING)
        announce(queue, *OVERTAKEN[1:])
        assert stands(queue) == [("c", "publishing"), ("a", "superseded")]


def test_what_an_older_one_followed_is_built_once_more() -> None:
    """The older one got as far as to be published: without a new build it would be deployed last."""
    with a_queue() as queue:
        announce(queue, OVERTAKEN[0])
        work(queue, BuildStatus.SUCCEEDED)
        announce(queue, OVERTAKEN[1])
        work(queue, BuildStatus.PUBLISHING)
        announce(queue, OVERTAKEN[2])
        assert stands(queue) == [("c", "succeeded"), ("a", "publishing"), ("c", "queued")]


def test_what_a_person_cancelled_is_not_built_after_all() -> None:
    """Announcements that come late do not speak against a person."""
    with a_queue() as queue:
        announce(queue, OVERTAKEN[0])
        queue.cancel(queue.newest()[0].id, "ada")
        announce(queue, *OVERTAKEN[1:])
        assert stands(queue) == [("c", "cancelled"), ("a", "superseded")]


def test_what_is_built_once_more_is_as_old_as_its_push() -> None:
    """A person who ordered something since that push has not ordered it before that."""
    with a_queue() as queue:
        announce(queue, *OVERTAKEN)
        again, _, first = queue.newest()
        assert (again.queued_at, again.by, again.app) == (first.queued_at, first.by, first.app)
        assert again.id != first.id


def test_an_older_one_that_is_told_again_is_not_built_behind_the_newest() -> None:
    """Also where the newest was being published already, and so was not queued again behind what it overtook."""
    with a_queue() as queue:
        announce(queue, OVERTAKEN[0])
        work(queue, BuildStatus.PUBLISHING)
        announce(queue, *OVERTAKEN[1:], pushed(A, delivery="again", before=Z))
        assert stands(queue) == [("c", "publishing"), ("a", "superseded")]


def test_a_tag_that_was_overtaken_ends_nothing() -> None:
    """What a moved tag was before is not built any more, and what it became goes on."""
    with a_queue() as queue:
        announce(queue, pushed(B, TAG, before=A), pushed(A, TAG, before="0" * 40))
        assert stands(queue) == [("b", "queued")]


def test_what_was_looked_up_by_hand_is_built_whatever_was_announced() -> None:
    """A branch that went back while nobody listened is set right like this; its next push follows that."""
    with a_queue() as queue:
        by_hand = pushed(B, delivery="by-hand 1", is_looked_up=True)
        assert announce(queue, pushed(C, before=B), by_hand) == [True, True]
        assert queue.of_push(by_hand).status is BuildStatus.QUEUED
        announce(queue, pushed(D, before=B))
        assert stands(queue) == [("c", "superseded"), ("b", "superseded"), ("d", "queued")]


def test_announcements_of_before_a_restart_still_count(tmp_path: Path) -> None:
    """What a branch was before is on the disk."""
    for push in OVERTAKEN:
        queue = BuildQueue(tmp_path / "builds.db")
        announce(queue, push)
        queue.close()
    queue = BuildQueue(tmp_path / "builds.db")
    assert stands(queue)[-1] == ("c", "queued")
    queue.close()


@st.composite
def chains(draw: st.DrawFn) -> tuple[dict[str, str], list[Push]]:
    """Return the end of each branch, and what announces them: chains, shuffled, with some of it twice."""
    ends, announced = {}, []
    for ref in (MAIN, NEXT):
        commits = draw(st.lists(st.sampled_from(COMMITS), min_size=1, max_size=5, unique=True))
        befores = [draw(st.sampled_from([Z, "0" * 40])), *commits]
        chain = [pushed(commit, ref, before=before) for before, commit in zip(befores, commits)]  # noqa: B905
        again = [pushed(each.commit, ref, f"{n}-{each.delivery}", before=each.before) for n, each in enumerate(chain)]
        ends[ref] = commits[-1]
        announced += [*chain, *draw(st.lists(st.sampled_from([*chain, *again[1:]]), max_size=3))]
    return ends, draw(st.permutations(announced))


@given(chains(), st.lists(st.sampled_from([None, *BuildStatus]), max_size=16))
@settings(max_examples=examples(30), deadline=None)
def test_every_order_ends_with_the_newest(
    told: tuple[dict[str, str], Sequence[Push]], worked: Sequence[BuildStatus | None]
) -> None:
    """Of each of two branches, whatever was built, published or red meanwhile: nothing comes behind its end."""
    ends, announced = told
    with a_queue() as queue:
        for number, push in enumerate(announced):
            announce(queue, push)
            if number < len(worked) and (status := worked[number]):
                work(queue, status)
        for ref, commit in ends.items():
            counted = counting(queue, ref)
            end = next(each for each in counted if each.commit == commit)
            behind = [each for each in counted if each.number > end.number]
            # One that was built for the newest before the end was known to be newer, and was red: that is over.
            assert all(each.status is BuildStatus.FAILED for each in behind)
            waiting = [each for each in counted if each.status in (BuildStatus.QUEUED, BuildStatus.RUNNING)]
            assert waiting in ([], [end])
