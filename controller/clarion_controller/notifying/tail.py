"""Reading the log of events as it grows, without ever standing in its writer's way.

In WAL mode a reader waits for nobody and holds up nobody; what it must not do is to keep a transaction open, because
the file could not be shortened meanwhile. Each read here is one short statement. Whether anything was written since
the last look is one cheap question to SQLite, so that a log at rest costs next to nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from clarion_controller.notifying.context import Context
from clarion_controller.state.events import AnyEvent, DeploymentAccepted, HostAdded, read_event
from clarion_controller.streams import document_in
from clarion_protocol.documents import Deployment
from clarion_protocol.errors import BadConfig, ClarionError

PORTION = 500
MAX_KNOWN = 64

_log = structlog.get_logger(__name__)


class Entry(NamedTuple):
    """One event of the log and where it belongs; `event` is None if no version of this program wrote it."""

    seq: int
    event: AnyEvent | None
    context: Context


class Tail:
    """The end of the log in `<home>/state/clarion.db`; for one thread."""

    def __init__(self, home: Path) -> None:
        path = home / "state" / "clarion.db"
        try:
            # Read only: whatever goes wrong here, the record stays as it is.
            self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
            self._version = self._data_version()
        except sqlite3.Error as error:
            raise BadConfig(f"{path} cannot be read: {error}", hint="Run 'clarion serve' once; it makes it.") from error
        self._deployment = lru_cache(maxsize=MAX_KNOWN)(self._read_deployment)
        self._names = lru_cache(maxsize=MAX_KNOWN)(self._read_names)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def has_grown(self) -> bool:
        """Return whether anything was written since the last time this was asked."""
        before, self._version = self._version, self._data_version()
        return self._version != before

    def end(self) -> int:
        """Return the number of the newest event; 0 before the first."""
        (newest,) = self._connection.execute("SELECT max(seq) FROM events").fetchone()
        return int(newest or 0)

    def after(self, cursor: int) -> list[Entry]:
        """Return the events after number `cursor`, in order, at most `PORTION`."""
        query = "SELECT seq, deployment, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._connection.execute(query, (cursor, PORTION)).fetchall()
        return [self._entry(seq, deployment or "", body) for seq, deployment, body in rows]

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _entry(self, seq: int, id_: str, body: bytes) -> Entry:
        event = _event_in(seq, body)
        if not id_ or event is None:
            return Entry(seq, event, Context(id=id_))
        names = self._names(id_)
        names.update(_named_by(event))
        return Entry(seq, event, Context(id=id_, deployment=self._deployment(id_), names=names))

    def _read_deployment(self, id_: str) -> Deployment | None:
        row = self._connection.execute("SELECT envelope FROM deployments WHERE id = ?", (id_,)).fetchone()
        try:
            return document_in(row[0]) if row else None
        except ClarionError as error:
            _log.warning("notifying.deployment_unreadable", deployment=id_, reason=error.message)
            return None

    def _read_names(self, id_: str) -> dict[str, str]:
        query = "SELECT seq, body FROM events WHERE deployment = ? AND kind IN (?, ?) ORDER BY seq"
        kinds = ("deployment_accepted", "host_added")
        rows = self._connection.execute(query, (id_, *kinds)).fetchall()
        events = (_event_in(seq, body) for seq, body in rows)
        return {host: name for event in events if event for host, name in _named_by(event)}


def _event_in(seq: int, body: bytes) -> AnyEvent | None:
    try:
        return read_event(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        # It will never be readable: to wait for that would be to tell nobody anything any more.
        _log.error("notifying.event_unreadable", seq=seq, reason=str(error))
        return None


def _named_by(event: AnyEvent) -> Iterator[tuple[str, str]]:
    if isinstance(event, DeploymentAccepted):
        yield from event.hosts.items()
    if isinstance(event, HostAdded):
        yield event.host, event.name
