"""The queue's file: one that an older Clarion has left is brought up to date, and loses nothing."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.controller.builds.pushing import MAIN, A, B, C, pushed

from clarion_controller.builds.build import BuildStatus
from clarion_controller.builds.build_queue import STARTED, BuildQueue
from clarion_controller.builds.build_rows import VERSION
from clarion_protocol.errors import BadConfig

# As version 1 made it, word for word.
FIRST = """
CREATE TABLE builds (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, repository TEXT NOT NULL, app TEXT NOT NULL,
    ref TEXT NOT NULL, "commit" TEXT NOT NULL, "before" TEXT DEFAULT '' NOT NULL, status TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL, version TEXT DEFAULT '' NOT NULL, "by" TEXT DEFAULT '' NOT NULL,
    queued_at FLOAT NOT NULL, started_at FLOAT, finished_at FLOAT, deployed_to TEXT DEFAULT '' NOT NULL,
    taken_as TEXT DEFAULT '' NOT NULL, takes INTEGER DEFAULT 0 NOT NULL, told INTEGER DEFAULT 0 NOT NULL, UNIQUE (id)
);
CREATE INDEX builds_by_status ON builds (status, number);
CREATE INDEX builds_by_ref ON builds (repository, ref, status);
CREATE TABLE deliveries (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL, delivery TEXT NOT NULL
);
CREATE UNIQUE INDEX one_delivery ON deliveries (repository, delivery);
PRAGMA user_version = 1;
"""
OLD = "INSERT INTO builds VALUES (?, ?, 'shop', 'shop', ?, ?, ?, ?, '', ?, 'ada', 1000.0, ?, ?, ?, ?, ?, ?)"
# Opens a queue, and is killed before the statement of that number; the last is the one that numbers the version.
KILLED = """
import os, sys
from itertools import count
from pathlib import Path
from sqlalchemy import Engine, event
from clarion_controller.builds.build_queue import BuildQueue
numbers = count(1)
event.listen(Engine, "before_cursor_execute", lambda *_: next(numbers) == int(sys.argv[2]) and os.kill(os.getpid(), 9))
BuildQueue(Path(sys.argv[1])).close()
"""
ROWS = [
    (6, "1" * 32, MAIN, A, "9" * 40, "succeeded", A[:12], 1001.0, 1002.0, "staging", "t" * 32, 1, 2),
    (7, "2" * 32, "refs/heads/next", A, "", "running", "", 1001.0, None, "", "t" * 32, 1, 1),
    (9, "3" * 32, MAIN, C, B, "queued", "", None, None, "", "", 0, 0),
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a database of version 1 with builds in it."""
    path = tmp_path / "builds.db"
    with sqlite3.connect(path) as database:
        database.executescript(FIRST)
        database.executemany(OLD, ROWS)
        database.execute("INSERT INTO deliveries VALUES (1, 'shop', 'known')")
    database.close()
    return path


def columns(path: Path) -> dict[str, set[str]]:
    """Return the tables and indexes of a database with their columns."""
    database = sqlite3.connect(path)
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")]
    found = {
        name: {str(row[1:5]) for row in database.execute(f"PRAGMA table_info({name})")}
        | {f"{row[2]} at {row[0]}" for row in database.execute(f"PRAGMA index_info({name})")}
        for name in names
    }
    database.close()
    return found


def test_an_older_one_is_brought_up_to_date(old: Path) -> None:
    """Builds stay what they were, known deliveries are known, the builder that builds may go on."""
    queue = BuildQueue(old)
    newest, running, done = queue.newest()
    assert [build.number for build in (newest, running, done)] == [9, 7, 6]
    assert (done.status, done.deployed_to, done.version, done.by) == (BuildStatus.SUCCEEDED, "staging", A[:12], "ada")
    assert queue.waiting.all() == []
    assert queue.taken(running.id, "t" * 32).id == running.id
    assert not queue.push(pushed(delivery="known"), "shop")
    assert queue.finish(running.id, "t" * 32, BuildStatus.FAILED, reason="red")
    assert [(build.id, told) for build, told in queue.untold()] == [(running.id, STARTED)]
    queue.close()


def test_what_was_announced_to_an_older_one_still_counts(old: Path) -> None:
    """The newest push was announced before the controller was upgraded, the one before it after that."""
    queue = BuildQueue(old)
    assert not queue.push(pushed(B, before=A), "shop")
    assert queue.newest()[0].commit == C
    assert queue.push(pushed(A, before=C), "shop")
    assert queue.newest()[0].number == 10
    queue.close()


def test_an_older_one_becomes_what_a_new_one_is(old: Path, tmp_path: Path) -> None:
    """The same tables, columns and indexes; but for one that nobody reads any more."""
    for path in (old, tmp_path / "new.db"):
        BuildQueue(path).close()
    BuildQueue(old).close()  # once more: it is of this version now
    upgraded, new = columns(old), columns(tmp_path / "new.db")
    upgraded["builds"] = {each for each in upgraded["builds"] if not each.startswith("('before'")}
    assert upgraded == new
    assert upgraded["pushes_by_ref"] == {"repository at 0", "ref at 1", "number at 2"}


@pytest.mark.parametrize("statement", range(1, 9))
def test_an_upgrade_that_is_killed_changes_nothing(old: Path, statement: int) -> None:
    """Before whichever of its statements: the next start finds all that was there, and brings it up to date."""
    before = columns(old)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(old), str(statement)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert columns(old) == before
    queue = BuildQueue(old)
    assert [build.number for build in queue.newest()] == [9, 7, 6]
    assert queue.push(pushed(A, before=C), "shop")
    queue.close()


def test_an_upgrade_that_fails_changes_nothing(old: Path) -> None:
    """All of it, or none: the older program could go on with it."""
    with sqlite3.connect(old) as database:
        database.execute("CREATE TABLE pushes (x)")
    database.close()
    before = columns(old)
    with pytest.raises(BadConfig, match="cannot be used"):
        BuildQueue(old)
    assert columns(old) == before


@pytest.mark.parametrize("version", [VERSION + 1, 99])
def test_one_of_a_newer_clarion_is_left_alone(old: Path, version: int) -> None:
    """Nobody knows what it means."""
    with sqlite3.connect(old) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    with pytest.raises(BadConfig, match=f"of version {version}, not {VERSION}"):
        BuildQueue(old)
