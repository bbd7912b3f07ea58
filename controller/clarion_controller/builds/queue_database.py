"""`<home>/state/builds.db`: one reads or changes it within a `with` block, which is one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, select, update

from clarion_controller.builds.build import Build, BuildStatus
from clarion_controller.builds.build_rows import SHOWN, UPGRADES, VERSION, build_in, builds, metadata
from clarion_controller.state.side_database import open_side_database

MAX_REASON = 2000
UNFINISHED = [status.value for status in BuildStatus if not status.is_final]
STOPPABLE = [BuildStatus.QUEUED.value, BuildStatus.RUNNING.value]


class QueueDatabase:
    """The database of the queue; any thread may use it, one changes it at a time."""

    def __init__(self, path: Path) -> None:
        self._engine = open_side_database(path, metadata, VERSION, UPGRADES)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a connection that sees one state of all tables."""
        return self._engine.connect()

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """Have a transaction, on the disk at the end of the block; nobody else changes anything meanwhile."""
        # SQLite lets one write at a time, and refuses whoever read before and then finds another's write.
        with self._lock, self._engine.begin() as connection:
            yield connection


def find_one(connection: Connection, condition: ColumnElement[bool]) -> Build | None:
    """Return the newest build of which `condition` is true."""
    return next(iter(find_all(connection, condition, 1)), None)


def find_all(connection: Connection, condition: ColumnElement[bool], limit: int = -1) -> list[Build]:
    """Return the builds of which `condition` is true, newest first."""
    wanted = select(*SHOWN).where(condition).order_by(builds.c.number.desc()).limit(limit)
    return [build_in(row) for row in connection.execute(wanted)]


def change(connection: Connection, which: ColumnElement[bool], changed: dict[str, object]) -> bool:
    """Change builds; return whether there were any."""
    if "reason" in changed:
        changed = {**changed, "reason": str(changed["reason"])[:MAX_REASON]}
    return bool(connection.execute(update(builds).where(which).values(changed)).rowcount)
