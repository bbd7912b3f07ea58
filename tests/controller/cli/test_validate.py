"""`clarion validate` on the home of a cluster: what its controller would not start with is not valid."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.controller.live import new_cluster

from clarion_controller.cli import run
from clarion_protocol.words import ExitCode


def test_an_environment_without_policy_is_not_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is only written down; the next start of the controller would fail."""
    home = new_cluster(tmp_path).home
    assert run(["validate", "--home", str(home)]) == ExitCode.COMMITTED
    (home / "fleet.toml").write_text((home / "fleet.toml").read_text() + "[environment.test]\n")
    assert run(["validate", "--home", str(home)]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "environment 'test' of fleet.toml has no signed policy" in said
    assert "clarion init --environment test" in said


def test_a_file_elsewhere_is_read_and_no_more(tmp_path: Path) -> None:
    """A fleet.toml in a work tree has no keys and no policies beside it."""
    (tmp_path / "fleet.toml").write_text("[environment.test]\n")
    assert run(["validate", str(tmp_path / "fleet.toml")]) == ExitCode.COMMITTED
