"""The builder's desk over its real socket: what a builder is given, what it may say, what it cannot touch."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.controller.builds.pushing import A, B, ObedientBuilder, building_cluster, pushed
from tests.controller.live import Live, live

from clarion_controller.builds import upload
from clarion_controller.builds.build import BUILDER_SOCKET, BuildStatus, Job
from clarion_controller.builds.builds import Builds
from clarion_controller.cluster import Cluster
from clarion_protocol.published import MAX_MANIFEST_FILE_BYTES


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Live]:
    """Have a controller serve that has the repository `shop`."""
    settings = 'credential = "file:token"\ndisk = "3MiB"\nmemory = "1GiB"\n'
    cluster = building_cluster(tmp_path, settings)
    (cluster.home / "secrets" / "token").write_text("opens-it\n")
    (cluster.home / "secrets" / "token").chmod(0o600)
    with live(cluster.home) as running:
        yield running


@pytest.fixture
def builder(controller: Live) -> Iterator[ObedientBuilder]:
    """Return a builder."""
    builder = ObedientBuilder(controller.home / BUILDER_SOCKET)
    yield builder
    builder.close()


def announce(controller: Live, commit: str = A, ref: str = "refs/heads/main") -> None:
    """Have something pushed."""
    queue = controller.desk.builds.queue
    controller.await_on_loop(
        lambda: controller.desk.builds.change(lambda: queue.push(pushed(commit, ref, os.urandom(8).hex()), "shop"))
    )


def files_of(controller: Live) -> set[str]:
    """Return what lies in the folder of the newest build."""
    build = controller.client.builds()[0]
    return {path.name for path in (controller.home / "state" / "builds" / build.id).iterdir()}


def taken(builder: ObedientBuilder) -> Job:
    """Return the job that waits."""
    job = builder.take()
    assert job
    return job


def status_of(controller: Live) -> tuple[BuildStatus, str]:
    """Return how the newest build stands, and why."""
    build = controller.client.builds()[0]
    return build.status, build.reason


def test_a_job_holds_what_a_build_needs_and_no_other_secret(controller: Live, builder: ObedientBuilder) -> None:
    """The limits, the credential itself; not where the hook's secret or a token is."""
    announce(controller)
    job = taken(builder)
    assert (job.app, job.ref, job.commit, job.credential) == ("shop", "refs/heads/main", A, "opens-it")
    assert (job.repository.memory, job.repository.disk) == (2**30, 3 * 2**20)
    assert (job.repository.secret, job.repository.token, job.repository.credential) == (None, None, None)
    assert job.id.startswith(controller.client.builds()[0].id)


def test_a_builder_that_waits_gets_what_is_pushed_at_once(controller: Live, builder: ObedientBuilder) -> None:
    """And nobody else gets the same."""
    assert builder.take(wait=0.2) is None
    threading.Timer(0.3, announce, [controller]).start()
    began = time.monotonic()
    assert builder.take(wait=20)
    assert time.monotonic() - began < 5
    assert builder.take() is None


def test_no_job_is_given_to_a_builder_that_has_hung_up(controller: Live, builder: ObedientBuilder) -> None:
    """A builder that is restarted while it waits costs no two minutes."""
    with pytest.raises(httpx.ReadTimeout):
        builder.http.post("/take", params={"wait": 20}, timeout=0.3)
    time.sleep(0.3)
    announce(controller)
    time.sleep(0.3)
    assert status_of(controller) == (BuildStatus.QUEUED, "")
    assert builder.take()


def test_waiting_builders_do_not_hold_the_controller_up_when_it_stops(tmp_path: Path) -> None:
    """They are sent away."""
    cluster = building_cluster(tmp_path)
    with live(cluster.home):
        builder = ObedientBuilder(cluster.home / BUILDER_SOCKET)
        answers: list[object] = []
        waiting = threading.Thread(target=lambda: answers.append(builder.take(wait=30)))
        waiting.start()
        time.sleep(0.5)
        began = time.monotonic()
    assert time.monotonic() - began < 4
    waiting.join(5)
    assert answers == [None]
    builder.close()


def test_a_superseded_build_is_told_to_stop(controller: Live, builder: ObedientBuilder) -> None:
    """With the next line that it writes."""
    announce(controller)
    job = taken(builder)
    assert builder.say(job, b"compiling\n")
    announce(controller, B)
    assert not builder.say(job, b"compiling more\n")
    builder.finish(job, failure="stopped")
    assert [build.status.value for build in controller.client.builds()] == ["queued", "superseded"]


def test_a_cancelled_build_is_told_to_stop(controller: Live, builder: ObedientBuilder) -> None:
    """And what it hands over is not wanted any more."""
    announce(controller)
    job = taken(builder)
    controller.client.cancel_build(controller.client.builds()[0].id, "ada@laptop")
    assert not builder.say(job)
    answer = builder.http.put(f"/builds/{job.id}/package", content=b"x")
    assert answer.status_code == 409
    assert status_of(controller) == (BuildStatus.CANCELLED, "cancelled by ada@laptop")


def test_a_build_that_is_given_back_goes_to_the_next(controller: Live, builder: ObedientBuilder) -> None:
    """At once; and who gave it back has no say any more."""
    announce(controller)
    job = taken(builder)
    builder.http.post(f"/builds/{job.id}/given_back").raise_for_status()
    assert status_of(controller) == (BuildStatus.QUEUED, "its builder was stopped; once more")
    assert taken(builder).id != job.id
    assert builder.http.post(f"/builds/{job.id}/given_back").status_code == 404


def test_a_failed_build_says_why(controller: Live, builder: ObedientBuilder) -> None:
    """The record hears that it began and how it ended."""
    announce(controller)
    job = taken(builder)
    builder.finish(job, failure="[test] unit: 'make test' failed (2)")
    assert status_of(controller) == (BuildStatus.FAILED, "[test] unit: 'make test' failed (2)")


def test_a_builder_writes_no_more_to_the_log_of_a_build_that_it_has_ended(
    controller: Live, builder: ObedientBuilder
) -> None:
    """What was published and deployed is the controller's to say, and no flood pushes it out."""
    announce(controller)
    job = taken(builder)
    builder.say(job, b"compiling\n")
    builder.finish(job, failure="red")
    assert not builder.say(job, b"deployed to production\n")
    assert controller.client.build_log(job.id[:32]).text == "compiling\n"


def test_a_green_build_without_a_package_is_red(controller: Live, builder: ObedientBuilder) -> None:
    """A builder that forgets something publishes nothing."""
    announce(controller)
    builder.finish(taken(builder), version="1.0")
    assert status_of(controller) == (BuildStatus.FAILED, "the builder handed over no package and no manifest")
    announce(controller, B)
    builder.finish(taken(builder), version="no version; rm -rf")
    assert status_of(controller)[0] is BuildStatus.FAILED


@pytest.mark.parametrize("change", ["another's", "the build's own", "nobody's", "climbing"])
@pytest.mark.parametrize("route", ["log", "finished", "package", "manifest", "given_back"])
def test_a_builder_cannot_touch_what_it_did_not_take(
    controller: Live, builder: ObedientBuilder, route: str, change: str
) -> None:
    """404 whatever it tries; the build goes on as it was."""
    announce(controller)
    announce(controller, B, "refs/tags/v1.0")
    mine, other = taken(builder), taken(builder)
    ids = {
        "another's": mine.id[:32] + other.id[32:],
        "the build's own": mine.id[:32],
        "nobody's": "0" * 64,
        "climbing": "..%2F..%2F" + mine.id,
    }
    method = "PUT" if route in ("package", "manifest") else "POST"
    body = b'{"version": "", "failure": "x"}' if route == "finished" else b"x"
    answer = builder.http.request(method, f"/builds/{ids[change]}/{route}", content=body)
    assert answer.status_code == 404
    assert [build.status.value for build in controller.client.builds()] == ["running", "running"]


@pytest.mark.parametrize("path", ["/v1/fleet", "/v1/builds", "/v1/plan", "/v1/deployments", "/v1/invites"])
def test_the_api_is_not_on_the_builders_socket(controller: Live, builder: ObedientBuilder, path: str) -> None:
    """A builder that was taken over orders nothing, and invites nobody."""
    assert controller.client.fleet()
    assert builder.http.get(f"http://clarion{path}").status_code == 404


def test_the_socket_is_not_for_everybody(controller: Live) -> None:
    """Owner and group."""
    path = controller.home / BUILDER_SOCKET
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_package_is_no_larger_than_a_build_may_write(controller: Live, builder: ObedientBuilder) -> None:
    """What is too large leaves nothing behind; a manifest has a limit of its own."""
    announce(controller)
    job = taken(builder)
    sizes = {"package": 3 * 2**20 + 1, "manifest": MAX_MANIFEST_FILE_BYTES + 1}
    for what, size in sizes.items():
        answer = builder.http.put(f"/builds/{job.id}/{what}", content=(b"x" * 65536 for _ in range(size // 65536 + 1)))
        assert answer.status_code == 400
        assert "more than" in answer.text
    folder = controller.home / "state" / "builds" / job.id[:32]
    assert list(folder.iterdir()) == []


def test_the_controllers_disk_is_not_filled(
    controller: Live, builder: ObedientBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some room always stays for its own state."""
    announce(controller)
    job = taken(builder)
    monkeypatch.setattr(upload, "FLOOR", 2**60)
    answer = builder.http.put(f"/builds/{job.id}/package", content=b"x")
    assert answer.status_code == 400
    assert "too full" in answer.text
    assert list((controller.home / "state" / "builds" / job.id[:32]).iterdir()) == []


def test_what_was_accepted_is_out_of_the_builders_reach(controller: Live, builder: ObedientBuilder) -> None:
    """A transfer that was begun before the end and ends after it changes nothing of what is published."""
    announce(controller)
    job = taken(builder)
    builder.hand_over(job, b"good", b"good")

    def late() -> Iterator[bytes]:
        yield b"evil"
        builder_too = ObedientBuilder(controller.home / BUILDER_SOCKET)
        builder_too.finish(job, version="1.0")
        builder_too.close()
        deadline = time.monotonic() + 10
        while status_of(controller)[0] is not BuildStatus.FAILED and time.monotonic() < deadline:
            time.sleep(0.05)
        yield b"evil"

    builder.http.put(f"/builds/{job.id}/package", content=late())
    assert "zstd" in status_of(controller)[1]
    controller.await_on_loop(lambda: controller.desk.builds.change(lambda: None))
    folder = controller.home / "state" / "builds" / job.id[:32]
    assert [path.name for path in folder.iterdir() if b"evil" in path.read_bytes()] in ([], ["handed.package"])


def test_a_repository_that_is_gone_fails_its_build(controller: Live, builder: ObedientBuilder) -> None:
    """Or one whose credential cannot be read: the builder gets the next job, if there is one."""
    announce(controller)
    (controller.home / "secrets" / "token").unlink()
    assert builder.take() is None
    status, reason = status_of(controller)
    assert status is BuildStatus.FAILED
    assert "secrets/token cannot be read" in reason
    announce(controller, B)
    fleet = controller.home / "fleet.toml"
    fleet.write_text(fleet.read_text().partition("[repository")[0])
    assert builder.take() is None
    assert status_of(controller)[1] == "fleet.toml has no [repository.shop] any more"


@pytest.mark.parametrize("end", ["red", "superseded"])
def test_a_package_of_a_build_that_is_not_green_does_not_stay(
    controller: Live, builder: ObedientBuilder, end: str
) -> None:
    """However it ended: two hundred of a repository's builds are remembered, which is a disk full of packages."""
    announce(controller)
    job = taken(builder)
    builder.say(job, b"hello")
    builder.hand_over(job, b"package", b"manifest")
    assert "handed.package" in files_of(controller)
    if end == "red":
        builder.finish(job, failure="no")
    else:
        controller.client.cancel_build(controller.client.builds()[0].id, "ada")
    until = time.monotonic() + 15
    while files_of(controller) != {"log"}:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_a_crash_left_of_a_package_is_removed(tmp_path: Path) -> None:
    """When the next controller starts; what was handed over whole stays."""
    cluster = building_cluster(tmp_path)
    folder = cluster.home / "state" / "builds" / "one"
    folder.mkdir(parents=True)
    for name in (".partial-x", "log"):
        (folder / name).touch()
    Builds(Cluster.at(cluster.home)).close()
    assert [path.name for path in folder.iterdir()] == ["log"]


def test_waiting_for_no_number_of_seconds_is_refused(builder: ObedientBuilder) -> None:
    """A builder may wait half a minute, and not for ever."""
    for wait in ("nan", "inf", "31", "-1"):
        assert builder.http.post("/take", params={"wait": wait}).status_code == 400
