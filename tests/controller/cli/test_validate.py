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


def test_what_is_not_here_may_be_where_the_controller_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipeline has neither the files nor the secrets: it is warned, with file, line and key, and goes on."""
    path = tmp_path / "fleet.toml"
    path.write_text('[environment.test]\nroles = ["web"]\n[role.web]\nsetup = "roles/web.sh"\n')
    assert run(["validate", str(path)]) == ExitCode.COMMITTED
    said = capsys.readouterr()
    assert said.out == f"{path} is valid.\n"
    missing = f"{tmp_path}/roles/web.sh cannot be read: No such file or directory"
    assert said.err == f"warning: {path}, line 4: role.web.setup: {missing}\n"


def test_a_servers_agent_is_no_file_where_it_cannot_fetch_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can work nowhere is no warning."""
    path = tmp_path / "fleet.toml"
    cloud = 'gcp = { project = "p", zone = "z", image = "i", machine_type = "m" }\n'
    path.write_text(f'[role.web]\nagent = "agent.deb"\n{cloud}')
    assert run(["validate", str(path)]) == ExitCode.USAGE
    assert "line 2: role.web.agent: a server in a cloud fetches its agent from" in capsys.readouterr().err
