"""From a green build to what runs: published, deployed, in the record; and what is wrong is none of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.controller.builds.pushing import (
    MAIN,
    A,
    B,
    ObedientBuilder,
    building_cluster,
    controller_process,
    pushed,
)
from tests.controller.live import Live, live
from tests.stores import Cluster

from clarion_controller.builds.build import BUILDER_SOCKET, Build, BuildStatus
from clarion_controller.builds.build_queue import BuildQueue
from clarion_controller.cli import run
from clarion_controller.client.calls import Controller
from clarion_controller.publish import packages
from clarion_controller.state.database import open_database
from clarion_controller.state.events import AnyEvent, BuildFinished, BuildStarted, read_event
from clarion_controller.state.tables import events

pytestmark = pytest.mark.once

AUTO = 'auto_deploy = "production"\n'


@contextmanager
def builder_of(home: Path) -> Iterator[ObedientBuilder]:
    """Have a builder within a `with` block."""
    builder = ObedientBuilder(home / BUILDER_SOCKET)
    yield builder
    builder.close()


def push(controller: Live, commit: str = A, ref: str = MAIN) -> None:
    """Have something pushed."""
    builds = controller.desk.builds
    controller.await_on_loop(lambda: builds.change(lambda: builds.queue.push(pushed(commit, ref), "shop")))


def build_green(home: Path, cluster: Cluster, version: str, app: str = "shop", said: str = "") -> None:
    """Take what waits, and hand over a real package of a version; say that it is `said`."""
    made = cluster.build(version, app)
    with builder_of(home) as builder:
        job = builder.take(5)
        assert job
        builder.say(job, b"building\n")
        builder.hand_over(job, made.package.read_bytes(), made.manifest.read_bytes())
        builder.finish(job, version=said or version)


def ended(client: Controller) -> Build:
    """Return the newest build once it is over."""
    deadline = time.monotonic() + 40
    while not (build := client.builds()[0]).status.is_final and time.monotonic() < deadline:
        time.sleep(0.1)
    return build


def recorded(home: Path) -> list[AnyEvent]:
    """Return what the record says of builds."""
    database = open_database(home / "state" / "clarion.db")
    with database.connect() as connection:
        kinds = events.c.kind.in_(["build_started", "build_finished"])
        bodies = connection.execute(select(events.c.body).where(kinds).order_by(events.c.seq))
        found = [read_event(body) for (body,) in bodies]
    database.dispose()
    return found


def wait_for_record(home: Path, count: int) -> list[AnyEvent]:
    """Return what the record says of builds once it says so much."""
    deadline = time.monotonic() + 20
    while len(found := recorded(home)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_what_is_green_is_published_and_recorded(tmp_path: Path) -> None:
    """The version is the commit; the log holds what the builder and what the controller did."""
    cluster = building_cluster(tmp_path)
    with live(cluster.home) as controller:
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        build = ended(controller.client)
        log = controller.client.build_log(build.id).text
        started, finished = wait_for_record(cluster.home, 2)
    assert (build.status, build.reason, build.version) == (BuildStatus.SUCCEEDED, "", A[:12])
    assert [(each.app, each.version) for each in packages(cluster.home)] == [("shop", A[:12])]
    assert log.startswith("building\n$ clarion publish ")
    assert f"shop {A[:12]} is published as release 1." in log
    assert [path.name for path in (cluster.home / "state" / "builds" / build.id).iterdir()] == ["log"]
    assert isinstance(started, BuildStarted)
    assert isinstance(finished, BuildFinished)
    assert (started.build, finished.build, finished.status) == (build.id, build.id, "succeeded")
    assert finished.version == A[:12]


def test_a_commit_that_is_published_is_not_published_again(tmp_path: Path) -> None:
    """Built once more, for another branch perhaps and with other bytes, it is green, and stays what it is."""
    cluster = building_cluster(tmp_path)
    cluster.publish(A[:12], content=b"published before")
    before = packages(cluster.home)
    with live(cluster.home) as controller:
        push(controller, ref="refs/heads/release/1")
        build_green(cluster.home, cluster, A[:12])
        build = ended(controller.client)
        log = controller.client.build_log(build.id).text
    assert (build.ref, build.status) == ("refs/heads/release/1", BuildStatus.SUCCEEDED)
    assert "was published before: those bytes count" in log
    assert packages(cluster.home) == before


def test_a_tag_is_a_version_without_its_v(tmp_path: Path) -> None:
    """As `clarion build` makes it."""
    cluster = building_cluster(tmp_path)
    with live(cluster.home) as controller:
        push(controller, ref="refs/tags/v1.2.0")
        build_green(cluster.home, cluster, "1.2.0")
        assert ended(controller.client).status is BuildStatus.SUCCEEDED
    assert packages(cluster.home)[0].version == "1.2.0"


@pytest.mark.parametrize(
    ("version", "app", "said"),
    [
        pytest.param("9.9.9", "shop", "9.9.9", id="a version of its own choice"),
        pytest.param("9.9.9", "shop", A[:12], id="another version than it says"),
        pytest.param(A[:12], "bank", A[:12], id="another app"),
    ],
)
def test_a_builder_does_not_choose_what_it_publishes(tmp_path: Path, version: str, app: str, said: str) -> None:
    """A builder that was taken over can spoil its own build, and replaces nobody else's."""
    cluster = building_cluster(tmp_path)
    with live(cluster.home) as controller:
        push(controller)
        build_green(cluster.home, cluster, version, app, said)
        build = ended(controller.client)
    assert build.status is BuildStatus.FAILED
    assert f"the build made {app} {version}, and not shop {A[:12]}" in build.reason
    assert packages(cluster.home) == []


def test_a_builder_does_not_choose_what_is_deployed(tmp_path: Path) -> None:
    """It hands over what was wanted, and calls it by the name of an old release that would be deployed instead."""
    cluster = building_cluster(tmp_path, AUTO)
    cluster.publish("1.0.0", content=b"old and full of holes")
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        build_green(cluster.home, cluster, A[:12], said="1.0.0")
        build = ended(controller.client)
        assert controller.client.deployments() == []
    assert build.status is BuildStatus.FAILED
    assert f"the build made shop 1.0.0, and not shop {A[:12]}" in build.reason


def test_a_build_whose_files_are_gone_holds_up_no_other(tmp_path: Path) -> None:
    """It failed; what is behind it is published."""
    cluster = building_cluster(tmp_path)
    with live(cluster.home) as controller:
        push(controller)
        with builder_of(cluster.home) as builder:
            job = builder.take(5)
            assert job
            builder.hand_over(job, b"a package", b"a manifest")
            queue = controller.desk.builds.queue
            controller.desk.builds.drop_package(queue.find(job.id[:32]))
            queue.finish(job.id[:32], job.id[32:], BuildStatus.PUBLISHING, version=A[:12])
        push(controller, B, "refs/heads/next")
        build_green(cluster.home, cluster, B[:12])
        assert ended(controller.client).status is BuildStatus.SUCCEEDED
        first = controller.client.builds()[1]
    assert (first.status, "is not there any more" in first.reason) == (BuildStatus.FAILED, True)


def test_what_cannot_be_published_failed(tmp_path: Path) -> None:
    """The reason is the error of `clarion publish`, which is in the log, too."""
    cluster = building_cluster(tmp_path)
    cluster.publish("1.2.0", content=b"published before this tag was moved")
    with live(cluster.home) as controller:
        push(controller, ref="refs/tags/v1.2.0")
        build_green(cluster.home, cluster, "1.2.0")
        build = ended(controller.client)
        assert "Build it under a new version" in controller.client.build_log(build.id).text
    assert build.status is BuildStatus.FAILED
    assert "is already published as release 1 with other bytes" in build.reason


def test_a_green_build_of_the_branch_is_deployed(tmp_path: Path) -> None:
    """To the environment, for a reason that names the build; another branch is only published."""
    cluster = building_cluster(tmp_path, f'{AUTO}branches = ["main", "next"]\n')
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        build = ended(controller.client)
        (deployment,) = controller.client.deployments()
        push(controller, B, "refs/heads/next")
        build_green(cluster.home, cluster, B[:12])
        assert ended(controller.client).deployed_to == ""
        assert len(controller.client.deployments()) == 1
    assert (build.status, build.deployed_to, build.reason) == (BuildStatus.SUCCEEDED, "production", "")
    assert (deployment.app, deployment.version) == ("shop", A[:12])


def test_what_was_ordered_before_a_crash_is_not_ordered_again(tmp_path: Path) -> None:
    """The deployment's reason names the build."""
    cluster = building_cluster(tmp_path, AUTO)
    cluster.publish(A[:12])
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        reason = f"build {controller.client.builds()[0].id[:12]}, pushed to {MAIN}"
        order = ["deploy", "shop", A[:12], "-e", "production", "--yes", "--no-wait", "--reason", reason]
        assert run([*order, "--home", str(cluster.home)]) == 0
        build_green(cluster.home, cluster, A[:12])
        assert ended(controller.client).deployed_to == "production"
        assert len(controller.client.deployments()) == 1


def test_what_cannot_be_deployed_says_why(tmp_path: Path) -> None:
    """It is published all the same: the build is green."""
    cluster = building_cluster(tmp_path, AUTO)
    with live(cluster.home) as controller:
        (cluster.home / "keys" / "deployer.key").rename(tmp_path / "offline.key")
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        build = ended(controller.client)
    assert (build.status, build.deployed_to) == (BuildStatus.SUCCEEDED, "")
    assert build.reason.startswith("not deployed to production: ")
    assert "deployer" in build.reason


@pytest.mark.parametrize("after", [0.0, 0.15, 0.4, 0.8, 1.2, 1.8, 2.5])
def test_a_controller_killed_after_a_green_build_ends_it_when_it_is_back(tmp_path: Path, after: float) -> None:
    """Published once, deployed once, recorded: wherever it was."""
    cluster = building_cluster(tmp_path, AUTO)
    with live(cluster.home) as controller:
        controller.enrol("web-1")
    queue = BuildQueue(cluster.home / "state" / "builds.db")
    queue.push(pushed(), "shop")
    queue.close()
    with controller_process(cluster.home) as process:
        build_green(cluster.home, cluster, A[:12])
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
    client = Controller(cluster.home / "run" / "controller.sock")
    with controller_process(cluster.home):
        build = ended(client)
        deployments = client.deployments()
        found = wait_for_record(cluster.home, 2)
    assert (build.status, build.deployed_to) == (BuildStatus.SUCCEEDED, "production"), build.reason
    assert [each.version for each in packages(cluster.home)] == [A[:12]]
    assert [each.version for each in deployments] == [A[:12]]
    assert [type(event) for event in found] == [BuildStarted, BuildFinished]
