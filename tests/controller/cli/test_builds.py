"""`clarion builds` before a whole controller: the list, a log that is followed, starting and cancelling."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.controller.builds.pushing import A, B, ObedientBuilder, building_cluster, pushed
from tests.controller.live import Live, live

from clarion_controller.builds.build import BUILDER_SOCKET, Build, BuildStatus, Push
from clarion_controller.cli import run
from clarion_controller.cli.builds import _row, took
from clarion_protocol.words import ExitCode


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Live]:
    """Have a controller serve that has the repository `shop`."""
    with live(building_cluster(tmp_path).home) as running:
        yield running


@pytest.fixture
def builder(controller: Live) -> Iterator[ObedientBuilder]:
    """Return a builder."""
    builder = ObedientBuilder(controller.home / BUILDER_SOCKET)
    yield builder
    builder.close()


def push(controller: Live, pushed_now: Push) -> None:
    """Have something pushed."""
    builds = controller.desk.builds
    controller.await_on_loop(lambda: builds.change(lambda: builds.queue.push(pushed_now, "shop")))


def clarion(controller: Live, *arguments: str) -> int:
    """Type a command."""
    return run(["builds", *arguments, "--home", str(controller.home)])


def test_nothing_built_yet_says_what_to_do(controller: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """And JSON is an empty list."""
    assert clarion(controller) == ExitCode.COMMITTED
    assert "clarion builds start REPOSITORY" in capsys.readouterr().err
    assert clarion(controller, "--json") == ExitCode.COMMITTED
    assert json.loads(capsys.readouterr().out) == []


def test_builds_are_listed_newest_first(
    controller: Live, builder: ObedientBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what came of each in a line below; what a builder says cannot steer the terminal."""
    push(controller, pushed(A))
    job = builder.take()
    assert job
    builder.finish(job, failure="'make' failed \x1b[2J\x07 (2)")
    push(controller, pushed(B, "refs/tags/v1.0"))
    assert clarion(controller) == ExitCode.COMMITTED
    head, newest, older, reason = capsys.readouterr().out.splitlines()
    assert head.split() == ["build", "status", "repository", "pushed", "commit", "queued", "took"]
    assert newest.split()[1:5] == ["queued", "shop", "v1.0", "bbbbbbbb"]
    assert older.split()[:5] == [job.id[:8], "failed", "shop", "main", "aaaaaaaa"]
    assert reason == "          'make' failed \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER} (2)"
    assert clarion(controller, "--limit", "1", "--json") == ExitCode.COMMITTED
    (build,) = json.loads(capsys.readouterr().out)
    assert (build["ref"], build["status"]) == ("refs/tags/v1.0", "queued")


def test_a_repository_that_does_not_exist_is_an_error(controller: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """With the one that was probably meant."""
    assert clarion(controller, "--repository", "shpo") == ExitCode.USAGE
    assert "Did you mean shop?" in capsys.readouterr().err
    assert clarion(controller, "start", "shpo") == ExitCode.USAGE


def test_a_log_is_shown_as_it_is_now(
    controller: Live, builder: ObedientBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without control characters, also where a letter comes in two pieces."""
    push(controller, pushed(A))
    job = builder.take()
    assert job
    builder.say(job, b"compil\x1b[31ming\r\n" + "größer".encode()[:3])
    assert clarion(controller, "log", job.id[:8]) == ExitCode.COMMITTED
    assert capsys.readouterr().out == "compil\N{REPLACEMENT CHARACTER}[31ming\ngr\n"
    builder.say(job, "größer".encode()[3:])
    assert clarion(controller, "log", job.id[:8]) == ExitCode.COMMITTED
    assert capsys.readouterr().out.splitlines()[1] == "größer"


def test_a_log_is_followed_to_its_end(
    controller: Live, builder: ObedientBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line by line; the exit code is the build's."""
    push(controller, pushed(A))
    job = builder.take()
    assert job

    def work() -> None:
        for line in (b"one\n", b"tw", b"o\n"):
            time.sleep(0.2)
            builder.say(job, line)
        builder.finish(job, failure="'make test' failed (2)")

    worker = threading.Thread(target=work)
    worker.start()
    assert clarion(controller, "log", job.id[:8], "--follow") == ExitCode.FAILED
    worker.join()
    said = capsys.readouterr()
    assert said.out == "one\ntwo\n"
    assert said.err == f"Build {job.id[:8]} of shop {A[:12]} failed: 'make test' failed (2).\n"


def test_of_an_endless_log_the_middle_is_left_out(
    controller: Live, builder: ObedientBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    """And how much of it is said."""
    push(controller, pushed(A))
    job = builder.take()
    assert job
    for _ in range(18):
        builder.say(job, (b"x" * 63 + b"\n") * 16384)
    assert clarion(controller, "log", job.id[:8]) == ExitCode.COMMITTED
    said = capsys.readouterr()
    assert said.err == "[4,194,304 bytes were not kept]\n"
    assert len(said.out) == 14 * 2**20


def test_a_build_is_started_by_hand(
    controller: Live, builder: ObedientBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the remote has there now; who wants it is kept."""
    remote = controller.home.parent / "shop.git"
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.net", "-C", str(remote)]
    subprocess.run(["git", "init", "--quiet", "-b", "trunk", str(remote)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert clarion(controller, "start", "shop") == ExitCode.COMMITTED
    said = capsys.readouterr().out
    build = controller.client.builds()[0]
    assert said.splitlines() == [
        f"trunk of shop ({commit[:12]}) is queued.",
        f"Follow it: clarion builds log {build.id[:8]} --follow",
    ]
    assert (build.ref, build.commit) == ("refs/heads/trunk", commit)
    assert "@" in build.by
    assert builder.take()
    assert clarion(controller, "start", "shop", "trunk", "--json") == ExitCode.COMMITTED
    assert json.loads(capsys.readouterr().out)["id"] == build.id
    assert clarion(controller, "start", "shop", "nope") == ExitCode.USAGE
    assert "has no branch or tag 'nope'" in capsys.readouterr().err


def test_a_remote_that_is_none_is_a_clear_error(controller: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """With the setting to correct."""
    (controller.home.parent / "shop.git").mkdir()
    assert clarion(controller, "start", "shop") == ExitCode.USAGE
    assert "is no git repository" in capsys.readouterr().err


def test_a_build_is_cancelled(controller: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice is as good as once."""
    push(controller, pushed(A))
    build = controller.client.builds()[0]
    assert clarion(controller, "cancel", build.id[:8]) == ExitCode.COMMITTED
    assert capsys.readouterr().out == f"Build {build.id[:8]} of shop is cancelled.\n"
    assert clarion(controller, "cancel", build.id[:8]) == ExitCode.COMMITTED


def test_the_log_of_a_build_that_waits_says_so(
    controller: Live, builder: ObedientBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that nobody builds, as long as nobody does; of one that has begun, neither."""
    push(controller, pushed(A))
    queued = f"Build {controller.client.builds()[0].id[:8]} of shop is queued.\n"
    assert clarion(controller, "log", controller.client.builds()[0].id) == ExitCode.COMMITTED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"{queued}No builder asks for work: 'systemctl status clarion-builder'")
    job = builder.take()
    assert job
    push(controller, pushed(B, "refs/tags/v1.0"))
    assert clarion(controller, "log", controller.client.builds()[0].id) == ExitCode.COMMITTED
    assert capsys.readouterr().err.endswith(" of shop is queued.\n")
    assert clarion(controller, "log", job.id[:8]) == ExitCode.COMMITTED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["log", "cancel"])
@pytest.mark.parametrize("id_", ["ffff", "../x", "shop", ""])
def test_an_id_that_does_not_exist_is_an_error(
    controller: Live, verb: str, id_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing that is no id gets into a path."""
    push(controller, pushed(A))
    assert clarion(controller, verb, id_) == ExitCode.USAGE
    assert "'clarion builds'" in capsys.readouterr().err


def test_a_row_fits_whatever_it_holds() -> None:
    """Long names are cut, times are short."""
    build = Build(
        id=A[:32], number=1, repository="shop", app="shop", ref=f"refs/heads/{'x' * 60}", commit=B,
        status=BuildStatus.SUCCEEDED, queued_at=1000.0, started_at=1002.0, finished_at=1135.0, deployed_to="staging",
    )  # fmt: skip
    row = _row(build, 1300.0)
    assert row[3] == "x" * 19 + "…"
    assert row[5:] == ["5 min ago", "2:13 min"]
    assert took(msgspec.structs.replace(build, started_at=None), 1300.0) == "-"


def test_what_waits_for_a_builder_that_is_not_there_says_so(
    controller: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    """With how to start one; as soon as one asks for work it is said no more."""
    push(controller, pushed(A))
    assert clarion(controller) == ExitCode.COMMITTED
    assert "No builder asks for work: 'systemctl status clarion-builder'" in capsys.readouterr().err
    builder = ObedientBuilder(controller.home / BUILDER_SOCKET)
    assert builder.take(1)
    builder.close()
    push(controller, pushed(B, "refs/tags/v1"))
    assert clarion(controller) == ExitCode.COMMITTED
    assert "No builder" not in capsys.readouterr().err


def test_a_builder_without_bubblewrap_does_not_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every push would turn red."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(["builder"]) == ExitCode.USAGE
    assert "apt install bubblewrap" in capsys.readouterr().err
