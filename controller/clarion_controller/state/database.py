"""The one file of state: SQLite in WAL mode, brought to the newest schema when it is opened.

Every transaction that wrote is on the disk at its end (synchronous = FULL), so what was
recorded survives the power cut that follows.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event

from clarion_protocol.errors import BadConfig

MIGRATIONS = Path(__file__).parent / "migrations"
AT_ONCE = {"at_once": True}
DAMAGED = "Is it a newer Clarion's, or damaged? Move it away, restore a backup, and start again."

# What SQLite says of a database that has nothing wrong with it.
_PASSES = (
    "disk is full",
    "disk I/O error",
    "is locked",
    "locking protocol",
    "readonly database",
    "access permission denied",
    "unable to open",
)


def open_database(path: Path) -> Engine:
    """Return the database at `path`, made if it is not there, in the newest schema.

    Raises:
        BadConfig: it cannot be opened, is no database, or is newer than this program.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    try:
        with engine.begin() as connection:
            migrate(connection)
    except (sqlalchemy.exc.DatabaseError, CommandError) as error:
        engine.dispose()
        raise BadConfig(
            f"{path} cannot be used: {error.args[0] if error.args else error}", hint=way_out(path, error, DAMAGED)
        ) from error
    path.chmod(0o600)
    return engine


def way_out(path: Path, error: Exception, if_damaged: str) -> str:
    """Return what to do about what SQLite says; moving a sound database away would lose what it holds."""
    # It passes, as the disk is emptied or whoever is at it ends: then all that is in there counts.
    if any(words in str(getattr(error, "orig", error)) for words in _PASSES):
        look = f"Look: 'df -h {path.parent}', 'ls -l {path}'."
        return f"Is the disk full, the file not ours, or somebody else at it? {look}"
    return if_damaged


def migrate(connection: Connection) -> None:
    """Bring the schema up to date; nothing happens if it is."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def set_up(connection: sqlite3.Connection, _record: object) -> None:
    """Have a new connection begin transactions when it is told to, and write them through to the disk."""
    # SQLAlchemy's recipe: without this, Python's driver begins transactions when it sees fit.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def begin(connection: Connection) -> None:
    """Begin a transaction; with the option AT_ONCE, one that waits now for whoever writes, and not when it writes.

    Who has read before it wants to write is refused at once if somebody else wrote meanwhile.
    """
    is_at_once = connection.get_execution_options().get("at_once")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_at_once else "BEGIN")
