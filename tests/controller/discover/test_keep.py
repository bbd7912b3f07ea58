"""Believed answers on the disk: what "before" was, also after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.judge import Answer
from clarion_controller.discover.keep import Keeper, key_of
from clarion_controller.fleet_toml.fleet import Aws, HostSource

WEB = Discovered(
    name="web-1",
    source="aws",
    instance="aws:i-0abc1234",
    zone="eu-west-1a",
    state="running",
    groups=("web",),
    tags={"role": "web"},
    addresses=("10.0.0.1",),
)


def test_what_is_kept_is_read_again_whole(tmp_path: Path) -> None:
    """Every field of every host, and when it was listed."""
    keeper = Keeper(tmp_path / "state" / "discovered")
    answers = {"a source": Answer((WEB,), 12.5), "one that lists nothing": Answer((), 13.0)}
    keeper.write("production", answers)
    assert Keeper(keeper.folder).read("production") == answers
    assert keeper.read("staging") == {}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"", id="an empty file"),
        pytest.param(b'{"sources": {"a": {"hosts": [], ', id="the half of one"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'{"sources": {"a": {"hosts": [{"name": 1}], "at": 1}}}', id="another schema"),
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
def test_a_damaged_file_says_nothing_rather_than_that_there_is_nobody(
    tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source that never answered blocks a deployment; one that lists nobody would not. The log says it."""
    (tmp_path / "production.json").write_bytes(damage)
    assert Keeper(tmp_path).read("production") == {}
    assert "damaged" in capsys.readouterr().out


def test_a_disk_that_takes_nothing_is_said_and_survived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Discovery goes on from memory."""
    (tmp_path / "state").write_text("a file where a folder should be")
    Keeper(tmp_path / "state" / "discovered").write("production", {})
    assert "not_kept" in capsys.readouterr().out


def test_environments_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """And only they."""
    keeper = Keeper(tmp_path / "discovered")
    for environment in ("production", "staging"):
        keeper.write(environment, {"a source": Answer((WEB,), 1.0)})
    keeper.forget_all_but(["staging"])
    assert (keeper.read("production"), len(keeper.read("staging"))) == ({}, 1)


def test_what_cannot_be_forgotten_is_said_and_survived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A disk that has become read-only, for one, must not end the controller; the others are forgotten."""
    keeper = Keeper(tmp_path / "discovered")
    keeper.write("staging", {"a source": Answer((WEB,), 1.0)})
    (keeper.folder / "production.json").mkdir()
    keeper.forget_all_but([])
    assert keeper.read("staging") == {}
    assert "not_forgotten" in capsys.readouterr().out


def test_what_a_power_cut_left_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only that; what cannot be removed is said and survived, and no folder is nothing to remove."""
    keeper = Keeper(tmp_path / "discovered")
    keeper.remove_partial_files()
    keeper.write("production", {"a source": Answer((WEB,), 1.0)})
    (keeper.folder / ".partial-abc").write_text("{")
    (keeper.folder / ".partial-folder").mkdir()
    keeper.remove_partial_files()
    assert sorted(path.name for path in keeper.folder.iterdir()) == [".partial-folder", "production.json"]
    assert "partial_file_not_removed" in capsys.readouterr().out


def test_a_source_is_known_by_all_that_it_says() -> None:
    """Not by the order in which it is written."""
    aws = Aws(regions=("eu-west-1",), tags={"a": "1", "b": "2"})
    same = Aws(regions=("eu-west-1",), tags={"b": "2", "a": "1"})
    other = Aws(regions=("eu-west-1",), tags={"a": "1"})
    assert key_of(HostSource(aws=aws)) == key_of(HostSource(aws=same))
    assert key_of(HostSource(aws=aws)) != key_of(HostSource(aws=other))
