"""`clarion nightly`: what it writes, and with which code it ends."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from tests.controller.live import live, new_cluster

from clarion_controller.cli import run
from clarion_controller.nightly.history import Reports
from clarion_controller.nightly.report import Check, Report, Result
from clarion_protocol.words import ExitCode

GOOD = Report(night="2026-11-20", began=0.0, ended=1.0, checks=(Check(name="sweep", result=Result.WORKS),))
BAD = Report(
    night="2026-11-21",
    began=0.0,
    ended=1.0,
    checks=(Check(name="rebuild shop", result=Result.BROKEN, reason="greeting 1.0 -> 1.1", since="2026-11-21"),),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the home of a cluster with two nights behind it; no controller serves it."""
    home = new_cluster(tmp_path).home
    reports = Reports(home)
    reports.make_folder()
    for report in (GOOD, BAD):
        reports.write(report)
    return home


def typed(home: Path, *words: str) -> int:
    """Return the exit code of `clarion nightly`."""
    return run(["--home", str(home), "nightly", *words])


def test_the_last_report_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading it is no failure, whatever it says."""
    assert typed(home, "report") == ExitCode.COMMITTED
    assert "broken   rebuild shop  greeting 1.0 -> 1.1 (since 2026-11-21)" in capsys.readouterr().out


def test_a_named_night_is_shown_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The very struct that is kept."""
    assert typed(home, "report", "2026-11-20", "--json") == ExitCode.COMMITTED
    assert json.loads(capsys.readouterr().out)["checks"][0]["name"] == "sweep"


def test_a_night_that_never_was_is_said_to_be_unknown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that come near."""
    assert typed(home, "report", "2026-11-23") == ExitCode.USAGE
    assert "Did you mean 2026-11-2" in capsys.readouterr().err


def test_history_lists_nights_newest_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As lines, and as JSON."""
    assert typed(home, "history") == ExitCode.COMMITTED
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-21  broken  broken: rebuild shop",
        "2026-11-20  good    1 check worked",
    ]
    assert typed(home, "history", "--json") == ExitCode.COMMITTED
    assert [report["night"] for report in json.loads(capsys.readouterr().out)] == ["2026-11-21", "2026-11-20"]


def test_before_the_first_night_there_is_a_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not an empty page."""
    home = new_cluster(tmp_path).home
    assert typed(home, "history") == ExitCode.COMMITTED
    assert "clarion nightly" in capsys.readouterr().err
    assert typed(home, "report") == ExitCode.USAGE


def test_a_quiet_night_that_works_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that cron mails nothing; the report is there all the same."""
    home = new_cluster(tmp_path).home
    with live(home):
        capsys.readouterr()
        assert typed(home, "--quiet") == ExitCode.COMMITTED
    assert [*capsys.readouterr()] == ["", ""]
    assert Reports(home).last().is_good


def test_a_night_without_a_controller_fails(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also quietly, it says so: on stdout what is known, on stderr what went wrong with the telling."""
    assert typed(home, "--quiet", "--only", "rebuild") == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert "no controller answers" in out.replace("\n", " ")
    assert "could not be told" in err


def test_only_root_begins_a_night_with_containers(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever types it without sudo hears so at once; nobody is told of a broken night."""
    (home / "fleet.toml").write_text('[environment.production]\nroles = ["web"]\n[role.web]\n')
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert typed(home) == ExitCode.USAGE
    assert "'clarion nightly --only rebuild'" in capsys.readouterr().err
    assert len(list(Reports(home).readable())) == 2


def test_json_of_a_night_is_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, alone."""
    home = new_cluster(tmp_path).home
    with live(home):
        capsys.readouterr()
        assert typed(home, "--json", "--quiet", "-e", "production") == ExitCode.COMMITTED
    assert {check["name"] for check in json.loads(capsys.readouterr().out)["checks"]} == {"sweep", "servers production"}


def test_a_second_run_is_blocked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5, and who is under way."""
    with (Reports(home).folder / "lock").open("w") as lock:
        lock.write("process 12, since 2026-11-22 03:17:00")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert typed(home) == ExitCode.BLOCKED
    assert "under way: process 12, since 2026-11-22 03:17:00" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--only", "half"], ["-e", "prodution"]], ids=" ".join)
def test_what_cannot_be_meant_is_refused(home: Path, words: list[str]) -> None:
    """Before anything is done."""
    assert typed(home, *words) == ExitCode.USAGE
    assert Reports(home).nights() == ["2026-11-21", "2026-11-20"]
