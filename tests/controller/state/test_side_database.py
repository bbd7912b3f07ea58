"""A database beside the record: whatever was done to its file is said with what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert

from clarion_controller.state.side_database import open_side_database
from clarion_protocol.errors import BadConfig

metadata = MetaData()
rows = Table("rows", metadata, Column("id", Integer, primary_key=True), Column("body", LargeBinary))

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no database at all": lambda _: b"hello" * 1000,
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "a page in the middle overwritten": lambda whole: whole[:4096] + os.urandom(4096) + whole[8192:],
}


def written(path: Path) -> bytes:
    """Return the file of a database with rows."""
    engine = open_side_database(path, metadata, 1)
    with engine.begin() as connection:
        connection.execute(insert(rows), [{"body": b"x" * 3000}] * 20)
    engine.dispose()
    return path.read_bytes()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_found_when_it_is_opened(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Not in the middle of the work, where nobody knows what it means."""
    path = tmp_path / "side.db"
    path.write_bytes(damage(written(path)))
    with pytest.raises(BadConfig, match="cannot be used") as caught:
        open_side_database(path, metadata, 1)
    assert "Move it away" in str(caught.value)


def test_one_of_another_version_is_left_alone(tmp_path: Path) -> None:
    """It may be a newer Clarion's; one that is sound opens again, for its owner only."""
    path = tmp_path / "side.db"
    written(path)
    open_side_database(path, metadata, 1).dispose()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadConfig, match="of version 1, not 2"):
        open_side_database(path, metadata, 2)


def test_several_may_make_it_at_the_same_time(tmp_path: Path) -> None:
    """A controller and whoever asks how all stands: none is told that it is locked, and nothing is made twice."""
    for attempt in range(5):
        with ThreadPoolExecutor(8) as pool:
            made = [pool.submit(open_side_database, tmp_path / f"{attempt}.db", metadata, 1) for _ in range(8)]
        for engine in made:
            engine.result().dispose()


def test_one_that_somebody_else_writes_to_is_not_to_be_moved_away(tmp_path: Path) -> None:
    """What passes is no damage: nobody is told to throw a queue away because of it."""
    path = tmp_path / "side.db"
    written(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(BadConfig, match="is locked") as caught:
            open_side_database(path, metadata, 1)
    finally:
        other.close()
    assert "Move it away" not in str(caught.value)
    assert f"ls -l {path}" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("left", [0, 4096, 20_000])
def test_a_full_disk_is_called_one(tmp_path: Path, left: int) -> None:
    """All that waits in the file is worth room: it is not to be moved away."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(tmp_path)], check=True, timeout=10)
    try:
        (tmp_path / "other").write_bytes(b"x" * (128 * 1024 - left))
        with pytest.raises(BadConfig, match=r"cannot be used: (database or disk is full|disk I/O error)") as caught:
            open_side_database(tmp_path / "side.db", metadata, 1)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=10)
    assert "Move it away" not in str(caught.value)
    assert f"'df -h {tmp_path}'" in str(caught.value)
