"""A database beside `clarion.db`, for what is no part of the record: queues, whose writes never delay a rollout."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, Engine, MetaData, create_engine, event

from clarion_controller.state.database import AT_ONCE, begin, set_up, way_out
from clarion_protocol.errors import BadConfig

# For each version that there was, the statements that make the next one of it.
Upgrades = Mapping[int, Sequence[str]]


def open_side_database(path: Path, metadata: MetaData, version: int, upgrades: Upgrades | None = None) -> Engine:
    """Return the database at `path` with these tables, made if it is not there; `version` is that of its tables.

    An older one is brought up to date by `upgrades`, step by step and in one transaction.

    Raises:
        BadConfig: it cannot be opened, is no database, is damaged, or is of another version.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    try:
        with engine.begin() as connection:
            _demand_soundness(connection)
            found = _version(connection)
        if found < version:
            # Whoever does the same just now is waited for, and then it is done.
            with engine.connect().execution_options(**AT_ONCE) as connection, connection.begin():
                found = _version(connection) or _made(connection, metadata, version)
                found = _upgraded(connection, found, upgrades or {})
    except (sqlalchemy.exc.DatabaseError, sqlite3.DatabaseError) as error:
        engine.dispose()
        said = getattr(error, "orig", error)  # without SQLAlchemy's words around it
        raise BadConfig(
            f"{path} cannot be used: {said}", hint=way_out(path, error, "Move it away and start again.")
        ) from error
    if found != version:
        engine.dispose()
        raise BadConfig(f"{path} is of version {found}, not {version}", hint="Is it a newer Clarion's? Move it away.")
    path.chmod(0o600)
    return engine


def _made(connection: Connection, metadata: MetaData, version: int) -> int:
    metadata.create_all(connection)
    return _numbered(connection, version)


def _upgraded(connection: Connection, found: int, upgrades: Upgrades) -> int:
    while found in upgrades:
        for statement in upgrades[found]:
            connection.exec_driver_sql(statement)
        found = _numbered(connection, found + 1)
    return found


def _numbered(connection: Connection, version: int) -> int:
    connection.exec_driver_sql(f"PRAGMA user_version = {version}")
    return version


def _demand_soundness(connection: Connection) -> None:
    # A page that a bad disk has changed is found now, with a hint, and not by whoever first needs a row of it.
    said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if said != "ok":
        raise sqlite3.DatabaseError(said.splitlines()[-1])


def _version(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
