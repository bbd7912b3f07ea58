"""The runner of all tests tells the truth about what it ran."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tests import run_all
from tests.run_all import Result, closing, count, environment, find_python, succeeds_aside

REPORT = """\
<testsuites><testsuite tests="5">
<testcase name="a"/><testcase name="b"/>
<testcase name="c"><failure message="no"/></testcase>
<testcase name="d"><error message="no fixture"/></testcase>
<testcase name="e"><skipped message="the lab needs root"/></testcase>
</testsuite></testsuites>
"""


def test_every_outcome_is_counted_once(tmp_path: Path) -> None:
    """Failures and errors count as failed, skips are counted with their reason, the rest has passed."""
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert count("unit", report) == Result("unit", 2, 2, 1, reasons=("1 x the lab needs root",))


def test_no_report_means_that_nothing_ran(tmp_path: Path) -> None:
    """Without a report nothing has passed."""
    assert count("unit", tmp_path / "missing.xml") == Result("unit")


def test_one_failure_anywhere_fails_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 as soon as one step has a failure, and the last line is the sum of all steps."""
    assert closing([Result("ruff", passed=1), Result("unit", 7, 1, 2, reasons=("2 x no root",))]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "!!! NOT RUN, unit: 2 x no root" in printed
    assert printed[-1] == "8 passed, 1 failed, 2 skipped"


def test_nothing_failed_is_success() -> None:
    """Skipped tests alone do not fail a run."""
    assert closing([Result("unit", passed=7, skipped=2)]) == 0


def test_a_shim_without_a_python_is_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is named like a Python but does not start is passed over."""
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python(99) is None


def test_pyenvs_pythons_are_found_without_being_switched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that only pyenv knows is found in pyenv's own folder."""
    minor = sys.version_info.minor
    installed = tmp_path / f"versions/3.{minor}.1/bin"
    installed.mkdir(parents=True)
    (installed / f"python3.{minor}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python(minor) == str(installed / f"python3.{minor}")


def test_an_environment_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    """A Python that fails gives no environment, and so no tests that seem to have run."""
    assert environment("/bin/false", tmp_path / "venv") is None


def test_what_runs_beside_others_is_shown_in_one_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failing command has failed, and all that it said is there, with how it ended."""
    assert not succeeds_aside(str(tmp_path), [sys.executable, "-c", "import sys; print('so far'); sys.exit('too bad')"])
    printed = capsys.readouterr().out
    assert "so far" in printed
    assert printed.endswith("too bad\n--- exit code 1\n")
    assert succeeds_aside(str(tmp_path), [sys.executable, "-c", ""])


def test_what_runs_beside_others_writes_where_it_is_told(tmp_path: Path) -> None:
    """Temporary files of everything that such a step starts lie there."""
    assert succeeds_aside(str(tmp_path), [sys.executable, "-c", "import tempfile; tempfile.mkdtemp(prefix='mine')"])
    assert [each.name[:4] for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("noexec", "available", "wanted"), [(0, 8, True), (0, 5, False), (os.ST_NOEXEC, 8, False)], ids=str
)
def test_memory_is_written_to_where_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noexec: int, available: int, wanted: bool
) -> None:
    """A small machine uses its disk, and so does one where nothing in memory may be run."""
    monkeypatch.setattr(run_all, "MEMORY", tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=noexec))
    gigabytes = SimpleNamespace(free=available * 2**30, available=available * 2**30)
    monkeypatch.setattr(psutil, "disk_usage", lambda _: gigabytes)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: gigabytes)
    assert run_all.memory() == (tmp_path if wanted else None)
    monkeypatch.setattr(run_all, "MEMORY", tmp_path / "nowhere")
    assert run_all.memory() is None
