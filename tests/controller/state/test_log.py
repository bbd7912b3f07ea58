"""The log over a real database file: nothing half, nothing lost, nothing changed unseen."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, inspect

from clarion_controller.state import log as log_module
from clarion_controller.state.database import open_database
from clarion_controller.state.events import Halted, HostLost, InviteMade, StatusChanged, read_event, write_event
from clarion_controller.state.log import Batch, StateLog
from clarion_controller.state.rows import StoredLog
from clarion_controller.state.tables import metadata
from clarion_protocol.errors import BadConfig
from clarion_protocol.words import DeploymentStatus

ONE = "1" * 32
OTHER = "2" * 32


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """Open a new database."""
    engine = open_database(tmp_path / "clarion.db")
    yield engine
    engine.dispose()


def lost(number: int) -> HostLost:
    """Return an event."""
    return HostLost(at=float(number), host=f"{number:032x}", reason="silence")


def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path, database: Engine) -> None:
    """Events come back in order, per deployment; the chain goes on where it was."""
    StateLog(database).record(Batch([(ONE, lost(1)), (OTHER, lost(2)), (ONE, lost(3)), (None, lost(4))]))
    database.dispose()
    reopened = open_database(tmp_path / "clarion.db")
    log = StateLog(reopened)
    log.record(Batch([(ONE, lost(5))]))
    assert log.events_of(ONE) == [lost(1), lost(3), lost(5)]
    assert (log.verify().entries, log.verify().broken_at) == (5, None)
    reopened.dispose()


def test_a_batch_is_recorded_whole_or_not_at_all(database: Engine) -> None:
    """When something in it fails, nothing of it is there and the chain goes on unbroken."""
    log = StateLog(database)
    log.record(Batch([(ONE, lost(1))]))
    with pytest.raises(ZeroDivisionError):
        log.record(Batch([(ONE, lost(2))]), lambda _: 1 // 0)
    log.record(Batch([(ONE, lost(3))]))
    assert log.events_of(ONE) == [lost(1), lost(3)]
    assert log.verify().broken_at is None


def test_threads_record_one_after_the_other(database: Engine) -> None:
    """Rollouts and joins record at the same time; the chain stays whole."""
    log = StateLog(database)

    def record(first: int) -> None:
        for number in range(first, first + 20):
            log.record(Batch([(ONE, lost(number))]))

    threads = [threading.Thread(target=record, args=(place * 100,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (log.verify().entries, log.verify().broken_at) == (80, None)


def test_a_changed_line_in_the_file_is_found(database: Engine) -> None:
    """Somebody edits history with sqlite3: verify names the entry."""
    log = StateLog(database)
    log.record(Batch([(ONE, lost(number)) for number in range(6)]))
    with database.begin() as connection:
        statement = "UPDATE events SET body = replace(body, 'silence', 'nothing') WHERE seq = 4"
        connection.execute(sqlalchemy.text(statement))
    assert log.verify().broken_at == 4


def test_old_logs_give_way_to_new_ones(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of logs is bounded, whatever hosts send."""
    monkeypatch.setattr(log_module, "MAX_LOGS", 100)
    log = StateLog(database)
    for number in range(30):
        entry = StoredLog(ONE, "h", float(number), "pulling", None, "", "", "x")
        log.record(Batch(logs=[entry] * 10))
    kept = log.logs(ONE)
    assert len(kept) <= 110
    assert kept[-1].at == 29.0


def test_events_have_one_spelling() -> None:
    """What is hashed can be read back and written again to the same bytes."""
    for event in (
        lost(1),
        Halted(at=1.5, reason="x"),
        StatusChanged(at=2.0, status=DeploymentStatus.FAILED, reason="y"),
        InviteMade(at=3.0, invite=ONE, environment="production", count=1, expires=4.0),
    ):
        assert read_event(write_event(event)) == event
        assert write_event(read_event(write_event(event))) == write_event(event)


def test_migrations_lead_to_the_tables_that_the_program_uses(tmp_path: Path, database: Engine) -> None:
    """A database that grew step by step has the same columns and indexes as the tables say."""
    fresh = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    metadata.create_all(fresh)
    grown, said = inspect(database), inspect(fresh)
    for table in metadata.tables:
        assert [str(c) for c in grown.get_columns(table)] == [str(c) for c in said.get_columns(table)]
        assert {i["name"] for i in grown.get_indexes(table)} == {i["name"] for i in said.get_indexes(table)}
    fresh.dispose()


@pytest.mark.parametrize("damage", [b"not a database" * 100, b""], ids=["rubbish", "empty"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    """Rubbish is refused with its path; an empty file is a new database."""
    path = tmp_path / "clarion.db"
    path.write_bytes(damage)
    if not damage:
        open_database(path).dispose()
        return
    with pytest.raises(BadConfig, match=str(path)):
        open_database(path)


def test_a_database_of_a_newer_program_is_left_alone(tmp_path: Path, database: Engine) -> None:
    """Going back to an older Clarion says so instead of guessing."""
    with database.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    with pytest.raises(BadConfig, match="9999"):
        open_database(tmp_path / "clarion.db")


SOUND = ("database or disk is full", "disk I/O error", "database is locked", "attempt to write a readonly database")
UNSOUND = ("database disk image is malformed", "table events already exists")


@pytest.mark.parametrize("says", [*SOUND, *UNSOUND])
def test_nobody_is_told_to_move_a_sound_database_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """A full disk needs room; only what is damaged, or another's, is moved."""

    def refuse(_connection: object) -> None:
        raise sqlalchemy.exc.OperationalError("BEGIN", {}, sqlite3.OperationalError(says))

    monkeypatch.setattr("clarion_controller.state.database.migrate", refuse)
    path = tmp_path / "clarion.db"
    with pytest.raises(BadConfig, match=says) as refused:
        open_database(path)
    assert ("Move it away" in str(refused.value.hint)) == (says in UNSOUND)
    assert (f"'df -h {tmp_path}', 'ls -l {path}'" in str(refused.value.hint)) == (says in SOUND)


def test_a_database_without_a_folder_names_the_folder(tmp_path: Path) -> None:
    """SQLite's own words name nothing."""
    with pytest.raises(BadConfig, match="unable to open") as refused:
        open_database(tmp_path / "nowhere" / "clarion.db")
    assert f"'ls -l {tmp_path / 'nowhere' / 'clarion.db'}'" in str(refused.value.hint)
