"""Secrets in fleet.toml: where they are is written there, never what they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clarion_controller.fleet_toml.fleet import parse_fleet
from clarion_controller.fleet_toml.table import MAX_SECRET_BYTES, Secret
from clarion_protocol.errors import BadConfig


def written(home: Path, text: bytes, mode: int = 0o600) -> Secret:
    """Return a secret that lies in a file of the home."""
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / "slack").write_bytes(text)
    (home / "secrets" / "slack").chmod(mode)
    return Secret.parse("file:slack")


def test_a_secret_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file of the home, anywhere else, or in the environment; the line end after it is none of it."""
    assert written(tmp_path, b"hush\n").reveal(tmp_path) == "hush"
    assert Secret.parse(f"file:{tmp_path}/secrets/slack").reveal(Path("/nowhere")) == "hush"
    monkeypatch.setenv("SLACK", "hush")
    assert Secret.parse("env:SLACK").reveal(tmp_path) == "hush"


def test_the_secret_itself_is_not_taken_and_not_repeated() -> None:
    """Who writes it into fleet.toml is told so, without it."""
    with pytest.raises(BadConfig) as caught:
        parse_fleet('[[notify]]\nname = "chat"\nslack = { url = "https://hooks.example.net/T0/hush" }')
    assert 'written as where it is: "file:NAME"' in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        pytest.param(b"hush", 0o604, "everybody may read it", id="readable by all"),
        pytest.param(b" \n", 0o600, "empty or not there", id="empty"),
        pytest.param(b"\xff\xfe", 0o600, "cannot be read", id="no text"),
    ],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, text: bytes, mode: int, said: str) -> None:
    """With what to do about it."""
    with pytest.raises(BadConfig, match=said) as caught:
        written(tmp_path, text, mode).reveal(tmp_path)
    assert caught.value.hint


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    """By its file or variable; a pipe is not waited for, and no more is read than a secret can be."""
    with pytest.raises(BadConfig, match="slack cannot be read"):
        Secret.parse("file:slack").reveal(tmp_path)
    with pytest.raises(BadConfig, match="env:NO_SUCH_VARIABLE is empty"):
        Secret.parse("env:NO_SUCH_VARIABLE").reveal(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(BadConfig, match="no file"):
        Secret.parse(f"file:{tmp_path}/pipe").reveal(tmp_path)
    assert len(written(tmp_path, b"x" * 2 * MAX_SECRET_BYTES).reveal(tmp_path)) == MAX_SECRET_BYTES
