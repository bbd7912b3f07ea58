"""The frame around every verb: exit codes, errors, help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.nobody import as_nobody

from clarion_controller.cli import exit_code_of, run
from clarion_protocol.errors import BadConfig, Blocked, ClarionError, ControllerUnreachable, SignalError, UnknownName
from clarion_protocol.words import ExitCode

from .conftest import Terminal


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_goes_to_stdout(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It was asked for."""
    assert run(arguments) == ExitCode.COMMITTED
    assert capsys.readouterr().out.startswith("Usage: clarion VERB")


def test_without_a_verb_the_same_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the exit code of wrong use."""
    assert run([]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("Usage: clarion VERB")


def test_the_version_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors tell people to do so."""
    assert run(["--version"]) == ExitCode.COMMITTED
    assert capsys.readouterr().out.startswith("clarion ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownName("x"), ExitCode.USAGE),
        (BadConfig("x"), ExitCode.USAGE),
        (Blocked("x"), ExitCode.BLOCKED),
        (ControllerUnreachable("x"), ExitCode.FAILED),
        (SignalError("x"), ExitCode.FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error_has_its_exit_code(error: ClarionError, code: ExitCode) -> None:
    """Typing errors are 2, what is in the way is 5, the rest 1."""
    assert exit_code_of(error) is code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["statsu"], "Did you mean 'clarion status'?"),
        (["status", "--colour"], "Run 'clarion status --help'"),
        (["deploy", "shop"], "Missing argument"),
        (["hosts", "invite"], "Missing option"),
        (["hosts", "frobnicate"], "No such command"),
        (["nightly", "--only", "apps"], "'--only': 'apps' is not one of 'rebuild', 'servers'"),
        (["status"], "clarion serve"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_people_get_wrong_is_an_error_and_a_next_command(
    terminal: Terminal, arguments: list[str], said: str
) -> None:
    """Never a traceback."""
    assert terminal.type(*arguments) in (ExitCode.USAGE, ExitCode.FAILED)
    assert terminal.err.startswith("error: ")
    assert said in terminal.err
    assert terminal.out == ""


def test_a_reader_that_goes_away_is_no_error_worth_a_traceback(tmp_path: Path) -> None:
    """`clarion --help | head -1` stays quiet."""
    command = f"{sys.executable} -c 'from clarion_controller.cli import main; main()' --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path)
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["builds"], ["notify"], ["nightly", "history"], ["status"]], ids=" ".join)
def test_whoever_may_not_open_the_home_is_told_as_whom_to_type(
    home: Path, terminal: Terminal, words: list[str]
) -> None:
    """The first thing that a person forgets is sudo."""
    terminal.type(*words)  # its modules are read as long as they can be
    home.chmod(0)
    with as_nobody():
        assert terminal.type(*words) != ExitCode.COMMITTED
    home.chmod(0o700)
    assert "error: you may not" in terminal.err
    assert "sudo -u clarion clarion" in terminal.err
