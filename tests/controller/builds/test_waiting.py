"""Deployments that wait: on the disk, cancelled by people, and never while one is just being ordered."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.controller.builds.pushing import A, pushed

from clarion_controller.builds import build_queue
from clarion_controller.builds.build import Build, BuildStatus
from clarion_controller.builds.build_queue import FINISHED, BuildQueue
from clarion_protocol.errors import Blocked, UnknownName

WHY = "waits to be deployed to staging: inventory hosts.ini does not answer"


def queue_in(folder: Path) -> BuildQueue:
    """Return the queue of a folder."""
    return BuildQueue(folder / "builds.db")


def one_waits(queue: BuildQueue) -> Build:
    """Have a build end green, and wait to be deployed."""
    queue.push(pushed(A), "shop")
    taken = queue.take()
    assert taken
    assert queue.finish(taken[0].id, taken[1], BuildStatus.PUBLISHING, version=A[:12])
    assert queue.publish_ended(taken[0].id, BuildStatus.SUCCEEDED, reason=WHY, waits_for="staging")
    return queue.find(taken[0].id)


def test_what_waits_waits_over_a_restart(tmp_path: Path) -> None:
    """The build is over and green, and says what it waits for."""
    queue = queue_in(tmp_path)
    build = one_waits(queue)
    assert (build.status, build.waits_for, build.reason) == (BuildStatus.SUCCEEDED, "staging", WHY)
    queue.close()
    queue = queue_in(tmp_path)
    assert queue.waiting.all() == [build]
    queue.waiting.go_on(build.id, "another reason")
    assert queue.find(build.id).reason == "another reason"
    assert queue.waiting.end(build.id, "", "staging")
    assert not queue.waiting.end(build.id, "too late", "")
    queue.waiting.go_on(build.id, "too late")
    assert queue.waiting.all() == []
    ended = queue.find(build.id)
    assert (ended.deployed_to, ended.waits_for, ended.reason) == ("staging", "", "")
    queue.close()


def test_a_person_can_cancel_a_deployment_that_waits(tmp_path: Path) -> None:
    """The build stays green; there is nothing to cancel a second time."""
    queue = queue_in(tmp_path)
    build = one_waits(queue)
    cancelled = queue.cancel(build.id, "ada")
    assert (cancelled.status, cancelled.waits_for) == (BuildStatus.SUCCEEDED, "")
    assert cancelled.reason == "not deployed to staging: cancelled by ada"
    assert not queue.waiting.hold(build.id)
    with pytest.raises(Blocked, match=r"is over \(succeeded\)"):
        queue.cancel(build.id, "ada")
    queue.close()


def test_nobody_cancels_what_is_just_being_ordered(tmp_path: Path) -> None:
    """They would be told that it is cancelled, and then it runs."""
    queue = queue_in(tmp_path)
    build = one_waits(queue)
    assert queue.waiting.hold(build.id)
    with pytest.raises(Blocked, match="just being ordered for staging"):
        queue.cancel(build.id, "ada")
    assert queue.find(build.id).waits_for == "staging"
    queue.waiting.let_go(build.id)
    assert queue.cancel(build.id, "").reason == "not deployed to staging: cancelled by somebody"
    queue.close()


def test_what_does_not_exist_is_not_cancelled(tmp_path: Path) -> None:
    """It may have been forgotten since somebody looked."""
    queue = queue_in(tmp_path)
    with pytest.raises(UnknownName):
        queue.cancel("0" * 32, "ada")
    assert not queue.waiting.hold("0" * 32)
    queue.close()


def test_what_waits_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is built meanwhile on other branches."""
    monkeypatch.setattr(build_queue, "KEPT_BUILDS", 0)
    queue = queue_in(tmp_path)
    build = one_waits(queue)
    queue.set_told({build.id: FINISHED})
    assert queue.prune() == {build.id}
    queue.cancel(build.id, "ada")
    assert queue.prune() == set()
    queue.close()
