"""A build's log on disk: all of it, or its beginning and its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion_controller.builds import log_file


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have logs of a few bytes."""
    monkeypatch.setattr(log_file, "MAX_BEGINNING", 20)
    monkeypatch.setattr(log_file, "MAX_PIECE", 10)


def whole(folder: Path) -> tuple[bytes, int]:
    """Return what is kept of a log, read in small pieces, and how much is left out."""
    text, offset, left_out = b"", 0, 0
    while words := log_file.read(folder, offset, most=7):
        if not words.text:
            return text, left_out
        text, offset, left_out = text + words.text, words.next_offset, left_out + words.left_out
    raise AssertionError


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(said=st.lists(st.binary(max_size=35), max_size=12))
def test_the_beginning_and_the_end_are_kept(tmp_path_factory: pytest.TempPathFactory, said: list[bytes]) -> None:
    """Whatever pieces it comes in: the first 20 bytes, at least the last 10, and never more than 40."""
    folder = tmp_path_factory.mktemp("log")
    for each in said:
        log_file.append(folder, each)
    everything = b"".join(said)
    kept, left_out = whole(folder)
    assert len(kept) + left_out == len(everything)
    assert kept[:20] == everything[:20]
    assert kept[20:] == everything[20 + left_out :]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 40
    if len(everything) > 40:
        assert len(kept) >= 30


def test_a_log_is_read_on_from_where_one_stopped(tmp_path: Path) -> None:
    """What comes later is read later; nothing yet is no error."""
    assert log_file.read(tmp_path).text == b""
    log_file.append(tmp_path, b"one\n")
    first = log_file.read(tmp_path)
    log_file.append(tmp_path, b"two\n")
    assert log_file.read(tmp_path, first.next_offset).text == b"two\n"
    assert log_file.read(tmp_path, 1000).text == b""


def test_a_gigabyte_of_output_costs_sixteen_megabytes(tmp_path: Path) -> None:
    """At the real sizes."""
    for _ in range(64):
        log_file.append(tmp_path, b"x" * 2**20)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 16 * 2**20
