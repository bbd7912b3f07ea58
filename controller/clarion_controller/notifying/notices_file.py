"""`<home>/state/notices.db`: opened, and begun anew if it is damaged, because people would never be told again."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

import sqlalchemy
import structlog
from sqlalchemy import Engine

from clarion_controller.notifying.tables import VERSION, metadata
from clarion_controller.state.side_database import open_side_database
from clarion_protocol.errors import BadConfig

NAME, DAMAGED = "notices.db", "notices.db.damaged"

_log = structlog.get_logger(__name__)


def open_notices(home: Path) -> tuple[Engine, bool]:
    """Return the database, and whether it is begun anew because what was there is damaged.

    Raises:
        BadConfig: it cannot be opened, on a full disk for example, or is of another version.
    """
    path = home / "state" / NAME
    try:
        return open_side_database(path, metadata, VERSION), False
    except BadConfig as error:
        if not is_damage(_cause(error)):
            raise
        _log.error("notifying.outbox_damaged", reason=error.message, kept_as=DAMAGED)
    _set_aside(path.parent)
    return open_side_database(path, metadata, VERSION), True


def is_damage(error: BaseException | None) -> bool:
    """Return whether an error says that the file is damaged, and not only that the disk is full or busy."""
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        error = error.orig
    # An IntegrityError is a mistake of ours, an OperationalError passes.
    return type(error) is sqlite3.DatabaseError


def _cause(error: BadConfig) -> BaseException | None:
    cause = error.__cause__
    return cause.orig if isinstance(cause, sqlalchemy.exc.DBAPIError) else cause


def _set_aside(folder: Path) -> None:
    """Keep the damaged file for whoever wants to look into it, under a name that 'clarion doctor' knows."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            (folder / f"{NAME}{suffix}").replace(folder / f"{DAMAGED}{suffix}")
