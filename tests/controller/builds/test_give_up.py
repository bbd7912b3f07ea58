"""Builders that do not end what they took: given up, whatever they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.controller.builds.pushing import A, B, ObedientBuilder, building_cluster, pushed
from tests.controller.live import live

from clarion_controller.builds import give_up
from clarion_controller.builds.build import BUILDER_SOCKET, BuildStatus
from clarion_controller.builds.build_queue import BuildQueue
from clarion_controller.builds.give_up import GRACE_S

LIMIT = 600.0
REASON = "given up: 10m to build and 30m to fetch and hand over are over, whatever its builder says"


class Clock:
    """A clock that stands until somebody moves it."""

    now = 1000.0

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now


def test_a_builder_that_only_says_that_it_lives_is_given_up(tmp_path: Path) -> None:
    """After the time to build and to fetch and hand over, and not a second before; it may not hand over any more."""
    clock = Clock()
    queue = BuildQueue(tmp_path / "builds.db", clock)
    queue.push(pushed(A), "shop")
    taken = queue.take()
    assert taken
    for _ in range(40):
        clock.now += (LIMIT + GRACE_S) / 40
        queue.taken(taken[0].id, taken[1])
        assert queue.give_up_silent() == []
        assert queue.give_up_overdue(lambda _: LIMIT) == []
    clock.now += 1
    (build,) = queue.give_up_overdue(lambda _: LIMIT)
    assert (build.status, build.reason, build.finished_at) == (BuildStatus.FAILED, REASON, clock.now)
    assert queue.taken(taken[0].id, taken[1]).status is BuildStatus.FAILED
    assert not queue.finish(taken[0].id, taken[1], BuildStatus.PUBLISHING, version="1.0")
    assert not queue.give_back(taken[0].id, taken[1])
    assert queue.give_up_overdue(lambda _: LIMIT) == []
    queue.close()


def test_each_repository_has_its_own_time(tmp_path: Path) -> None:
    """What waits, and what was given back and taken anew, has not used any of it."""
    clock = Clock()
    queue = BuildQueue(tmp_path / "builds.db", clock)
    for number, commit in enumerate([A, B]):
        queue.push(pushed(commit, f"refs/heads/{number}"), "shop")
    again = queue.take()
    assert again
    clock.now += LIMIT + GRACE_S + 1
    queue.give_back(again[0].id, again[1])
    queue.take()
    assert queue.give_up_overdue(lambda _: LIMIT) == []
    clock.now += LIMIT + GRACE_S + 1
    assert queue.give_up_overdue(lambda name: {"shop": 2 * LIMIT}[name]) == []
    assert [build.commit for build in queue.give_up_overdue(lambda _: LIMIT)] == [A]
    assert [build.status.value for build in queue.newest()] == ["queued", "failed"]
    queue.close()


@pytest.mark.parametrize("says", ["log", "package", "finished"])
def test_the_next_word_of_a_builder_that_was_given_up_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """The controller looks by itself; to a sign of life it answers not to go on, a package it does not take."""
    monkeypatch.setattr(give_up, "GRACE_S", 0.0)
    cluster = building_cluster(tmp_path, 'timeout = "1s"\n')
    with live(cluster.home) as controller:
        builder = ObedientBuilder(cluster.home / BUILDER_SOCKET)
        queue = controller.desk.builds.queue
        controller.await_on_loop(lambda: controller.desk.builds.change(lambda: queue.push(pushed(A), "shop")))
        job = builder.take(5)
        assert job
        while builder.say(job):
            controller.on_loop(controller.desk.builds.wake)
        assert says != "package" or builder.http.put(f"/builds/{job.id}/package", content=b"x").status_code == 409
        if says == "finished":
            builder.finish(job, version=A[:12])
        build = controller.client.builds()[0]
        builder.close()
    assert (build.status, build.reason) == (
        BuildStatus.FAILED,
        "given up: 1s to build and 0s to fetch and hand over are over, whatever its builder says",
    )


def test_a_fleet_toml_that_is_being_edited_gives_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of each repository stands in it; what is gone from it has the time that is usual."""
    monkeypatch.setattr(give_up, "GRACE_S", -3600.0)
    cluster = building_cluster(tmp_path)
    fleet = cluster.home / "fleet.toml"
    with live(cluster.home) as controller:
        builds = controller.desk.builds
        whole = fleet.read_text()
        fleet.write_text("[repository.shop\n")
        builds.queue.push(pushed(A), "shop")
        builds.queue.take()
        assert builds.give_up_overdue() == []
        fleet.write_text(whole.partition("[repository")[0])
        assert [build.commit for build in builds.give_up_overdue()] == [A]
