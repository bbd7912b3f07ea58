"""A deployment that is in the way of nothing but a source of servers that does not answer: it waits, and comes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.controller.builds.pushing import MAIN, A, B, building_cluster, controller_process, pushed
from tests.controller.builds.test_after_build import build_green, ended, push, wait_for_record
from tests.controller.live import live
from tests.stores import Cluster

from clarion_controller.builds import standing, upkeep
from clarion_controller.builds.build import Build, BuildStatus
from clarion_controller.builds.build_queue import BuildQueue
from clarion_controller.cli import run
from clarion_controller.client.calls import Controller
from clarion_controller.state.events import BuildFinished
from clarion_protocol.words import ExitCode

pytestmark = pytest.mark.once

SILENT = 'inventory = "gone.ini"'
AUTO = f'auto_deploy = "production"\n[[environment.production.hosts]]\n{SILENT}\n'
WAITS = "waits to be deployed to production: inventory gone.ini has never answered"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return a cluster whose source of servers does not answer, and whose controller has little patience."""
    for name in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(standing, name, 0.3)
    monkeypatch.setattr(upkeep, "LOOK_EVERY_S", 0.2)
    return building_cluster(tmp_path, AUTO)


def edit(cluster: Cluster, old: str, new: str) -> None:
    """Change fleet.toml."""
    fleet = cluster.home / "fleet.toml"
    text = fleet.read_text()
    assert old in text
    fleet.with_suffix(".new").write_text(text.replace(old, new))
    fleet.with_suffix(".new").replace(fleet)


def mend(cluster: Cluster) -> None:
    """Have the environment's servers listed where they can be found."""
    edit(cluster, SILENT, 'static = ["web-1"]')


def once(client: Controller, holds: Callable[[Build], bool], number: int = 0) -> Build:
    """Return the build, counted from the newest, once `holds` is true of it."""
    deadline = time.monotonic() + 40
    while not holds(build := client.builds()[number]):
        assert time.monotonic() < deadline, build
        time.sleep(0.1)
    return build


def waits_no_more(build: Build) -> bool:
    """Return whether nobody tries to deploy a build."""
    return build.status.is_final and not build.waits_for


def test_what_is_blocked_is_deployed_when_nothing_is_in_the_way(cluster: Cluster) -> None:
    """The build is green at once and says so; its log holds what is said once, and its end."""
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        waiting = ended(controller.client)
        time.sleep(2)  # a few tries
        told = wait_for_record(cluster.home, 2)[1]
        assert controller.client.deployments() == []
        mend(cluster)
        build = once(controller.client, waits_no_more)
        log = controller.client.build_log(build.id).text
        (deployment,) = controller.client.deployments()
        assert len(wait_for_record(cluster.home, 2)) == 2
    assert (waiting.status, waiting.waits_for) == (BuildStatus.SUCCEEDED, "production")
    assert waiting.reason.startswith(WAITS)
    assert isinstance(told, BuildFinished)
    assert (told.status, told.reason) == ("succeeded", waiting.reason)
    assert (build.deployed_to, build.reason, deployment.version) == ("production", "", A[:12])
    assert log.count(WAITS) == 1
    assert log.count("$ clarion deploy") == 2
    assert log.endswith("deployed to production\n")


def test_a_newer_build_takes_the_place_of_one_that_waits(cluster: Cluster) -> None:
    """Only the newest is deployed when the way is free."""
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        for commit in (A, B):
            push(controller, commit)
            build_green(cluster.home, cluster, commit[:12])
            once(controller.client, lambda build: bool(build.waits_for))
        newer = controller.client.builds()[0]
        older = once(controller.client, waits_no_more, 1)
        assert "superseded by build" in controller.client.build_log(older.id).text
        mend(cluster)
        once(controller.client, waits_no_more)
        assert [each.version for each in controller.client.deployments()] == [B[:12]]
    assert older.reason == f"not deployed to production: superseded by build {newer.id[:8]}"
    assert older.status is BuildStatus.SUCCEEDED


@pytest.mark.parametrize("moment", ["before it is green", "while it waits"])
def test_what_a_person_ordered_since_the_push_stays(
    cluster: Cluster, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who went back to an older version at night has it replaced by what was pushed before that."""
    monkeypatch.setattr(standing, "FIRST_PAUSE_S", 60.0)  # the person is faster
    monkeypatch.setattr(standing, "LONGEST_PAUSE_S", 60.0)
    cluster.publish("1.0.0", content=b"old and trusted")
    by_hand = ["deploy", "shop", "1.0.0", "-e", "production", "--yes", "--no-wait", "--home", str(cluster.home)]
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        if moment == "while it waits":
            build_green(cluster.home, cluster, A[:12])
            once(controller.client, lambda build: bool(build.waits_for))
        mend(cluster)
        assert run(by_hand) == ExitCode.COMMITTED
        if moment == "before it is green":
            build_green(cluster.home, cluster, A[:12])
        build = once(controller.client, waits_no_more)
        assert [each.version for each in controller.client.deployments()] == ["1.0.0"]
    assert (build.status, build.deployed_to) == (BuildStatus.SUCCEEDED, "")
    assert build.reason.startswith("not deployed to production: ")
    assert build.reason.endswith(" ordered 1.0.0 there since the push")


def test_what_fleet_toml_does_not_want_any_more_is_given_up(cluster: Cluster) -> None:
    """Not while somebody is in the middle of editing it."""
    with live(cluster.home) as controller:
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        once(controller.client, lambda build: bool(build.waits_for))
        whole = (cluster.home / "fleet.toml").read_text()
        (cluster.home / "fleet.toml").write_text("[cluster\n")
        time.sleep(1)
        assert controller.desk.builds.queue.newest()[0].waits_for == "production"
        (cluster.home / "fleet.toml").write_text(whole.replace('auto_deploy = "production"\n', ""))
        build = once(controller.client, waits_no_more)
        log = controller.client.build_log(build.id).text
    assert build.reason == "not deployed to production: fleet.toml does not say any more that main is deployed there"
    assert log.endswith(f"{build.reason}\n")


def test_another_answer_than_blocked_ends_it(cluster: Cluster) -> None:
    """Without a deployer's key no patience helps."""
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        once(controller.client, lambda build: bool(build.waits_for))
        (cluster.home / "keys" / "deployer.key").rename(cluster.home / "offline.key")
        build = once(controller.client, waits_no_more)
        assert build.reason in controller.client.build_log(build.id).text
        assert controller.client.deployments() == []
    assert build.status is BuildStatus.SUCCEEDED
    assert build.reason.startswith("not deployed to production: ")
    assert "deployer" in build.reason


def test_a_person_cancels_it_on_the_command_line(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """`clarion builds` shows that it waits and why; after a cancel it is not ordered, even if the way is free."""
    with live(cluster.home) as controller:
        controller.enrol("web-1")
        push(controller)
        build_green(cluster.home, cluster, A[:12])
        build = once(controller.client, lambda build: bool(build.waits_for))
        where = ["--home", str(cluster.home)]
        assert run(["builds", *where]) == ExitCode.COMMITTED
        assert WAITS in " ".join(capsys.readouterr().out.split())
        deadline = time.monotonic() + 20
        while (code := run(["builds", "cancel", build.id[:8], *where])) == ExitCode.BLOCKED:
            assert "just being ordered" in capsys.readouterr().err
            assert time.monotonic() < deadline
        assert code == ExitCode.COMMITTED
        stays = f"Build {build.id[:8]} of shop stays succeeded, not deployed to production: cancelled"
        assert stays in " ".join(capsys.readouterr().out.split())
        mend(cluster)
        time.sleep(1.5)
        assert controller.client.deployments() == []
        cancelled = controller.client.builds()[0]
        log = controller.client.build_log(build.id).text
    assert (cancelled.status, cancelled.waits_for) == (BuildStatus.SUCCEEDED, "")
    assert log.endswith(f"{cancelled.reason}\n")


@pytest.mark.parametrize("after", [0.0, 0.3, 0.8, 1.3, 2.0, 3.0])
def test_a_controller_killed_while_it_waits_or_orders_deploys_once(tmp_path: Path, after: float) -> None:
    """Wherever it was killed: what waits is on the disk, and what was ordered is known by its reason."""
    cluster = building_cluster(tmp_path, AUTO)
    client = Controller(cluster.home / "run" / "controller.sock")
    with live(cluster.home) as controller:
        controller.enrol("web-1")
    queue = BuildQueue(cluster.home / "state" / "builds.db")
    queue.push(pushed(A, MAIN), "shop")
    queue.close()
    with controller_process(cluster.home) as process:
        build_green(cluster.home, cluster, A[:12])
        once(client, lambda build: bool(build.waits_for))
        os.kill(process.pid, signal.SIGKILL)
    mend(cluster)
    with controller_process(cluster.home) as process:
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
    with controller_process(cluster.home):
        build = once(client, waits_no_more)
        deployments = client.deployments()
    assert (build.status, build.deployed_to, build.reason) == (BuildStatus.SUCCEEDED, "production", "")
    assert [each.version for each in deployments] == [A[:12]]
