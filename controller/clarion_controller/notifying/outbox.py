"""What is to be delivered, in `<home>/state/notices.db`: written in one transaction with how far the log was read."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from clarion_controller.notifying.tables import VERSION, incidents, metadata, outbox, remembered, standing
from clarion_controller.state.side_database import open_side_database

DAY = 86_400.0
KEPT = 30 * DAY  # what was sent, or given up
INCIDENTS_KEPT = 365 * DAY  # a tag whose build broke is never repaired
PENDING, SENT, GIVEN_UP = "pending", "sent", "given_up"


@dataclass(frozen=True)
class Standing:
    """How far the log was read, and what is known from it (JSON)."""

    cursor: int
    known: bytes
    forges: bytes


@dataclass(frozen=True)
class Outgoing:
    """Something for one destination ("notify:NAME", "forge:REPOSITORY"); `subject` is what it is about there.

    It opens the incidents `opens` for that destination; UTC seconds.
    """

    destination: str
    subject: str
    body: bytes
    made_at: float
    opens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What follows from a portion of the log: where it stands, what goes out, which incidents are over."""

    standing: Standing
    outgoing: Sequence[Outgoing] = ()
    closed: Collection[str] = ()


@dataclass(frozen=True)
class Pending:
    """The first of what waits for one destination; `remembered` is what that said of the same subject before."""

    id: int
    destination: str
    subject: str
    body: bytes
    made_at: float
    attempts: int
    next_at: float
    remembered: str = ""


class Outbox:
    """The outbox of one home; any thread may call."""

    def __init__(self, home: Path) -> None:
        self._engine = open_side_database(home / "state" / "notices.db", metadata, VERSION)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def standing(self) -> Standing | None:
        """Return how far the log was read; None if it never was."""
        wanted = select(standing.c.cursor, standing.c.known, standing.c.forges)
        with self._engine.connect() as connection:
            row = connection.execute(wanted).first()
        return Standing(*row) if row else None

    def told(self, incident: str) -> set[str]:
        """Return the destinations that know of an incident."""
        wanted = select(incidents.c.destination).where(incidents.c.incident == incident)
        with self._engine.connect() as connection:
            return {destination for (destination,) in connection.execute(wanted)}

    def advance(self, changes: Changes) -> None:
        """Keep all of `changes`, or nothing."""
        with self._writing() as connection:
            row = vars(changes.standing)
            connection.execute(insert_or(standing).values(id=1, **row).on_conflict_do_update(set_=row))
            for each in changes.outgoing:
                _put(connection, each)
            if changes.closed:
                connection.execute(delete(incidents).where(incidents.c.incident.in_(changes.closed)))

    def first(self, destination: str) -> Pending | None:
        """Return what is due next at a destination, or will be."""
        columns = [outbox.c[key] for key in ("id", "destination", "subject", "body", "made_at", "attempts", "next_at")]
        wanted = select(*columns).where(outbox.c.destination == destination, outbox.c.status == PENDING)
        with self._engine.connect() as connection:
            row = connection.execute(wanted.order_by(outbox.c.id).limit(1)).first()
            return Pending(**row._mapping, remembered=_said(connection, row)) if row else None  # noqa: SLF001 (its API)

    def sent(self, pending: Pending, said: str, now: float) -> None:
        """Record that it arrived, and what the destination said of its subject."""
        with self._writing() as connection:
            _end(connection, pending, status=SENT, error="", ended_at=now)
            if said and said != pending.remembered:
                row = {"destination": pending.destination, "subject": pending.subject, "said": said, "at": now}
                statement = insert_or(remembered).values(row)
                connection.execute(statement.on_conflict_do_update(set_={"said": said, "at": now}))

    def failed(self, pending: Pending, error: str, next_at: float) -> None:
        """Record that it did not arrive, and when it is tried again."""
        with self._writing() as connection:
            _end(connection, pending, error=error, next_at=next_at)

    def give_up(self, pending: Pending, error: str, now: float) -> None:
        """Record that it will never arrive."""
        with self._writing() as connection:
            _end(connection, pending, status=GIVEN_UP, error=error, ended_at=now)

    def abandon(self, kept: Collection[str], now: float) -> int:
        """Give up what waits for destinations that are none any more; return how much that was."""
        lost = (outbox.c.status == PENDING) & outbox.c.destination.not_in(kept)
        with self._writing() as connection:
            values = {"status": GIVEN_UP, "error": "it is not in fleet.toml any more", "ended_at": now}
            return connection.execute(update(outbox).where(lost).values(values)).rowcount

    def prune(self, now: float) -> None:
        """Forget what ended long ago."""
        with self._writing() as connection:
            connection.execute(delete(outbox).where(outbox.c.ended_at < now - KEPT))
            connection.execute(delete(remembered).where(remembered.c.at < now - KEPT))
            connection.execute(delete(incidents).where(incidents.c.opened_at < now - INCIDENTS_KEPT))

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        # One after the other: a transaction of SQLite that began before another wrote could not write any more.
        with self._lock, self._engine.begin() as connection:
            yield connection


def _put(connection: Connection, each: Outgoing) -> None:
    row = {key: getattr(each, key) for key in ("destination", "subject", "body", "made_at")}
    connection.execute(insert(outbox), row)
    for incident in each.opens:
        opened = {"incident": incident, "destination": each.destination, "opened_at": each.made_at}
        connection.execute(insert_or(incidents).values(opened).on_conflict_do_nothing())


def _end(connection: Connection, pending: Pending, **values: object) -> None:
    statement = update(outbox).where(outbox.c.id == pending.id)
    connection.execute(statement.values(attempts=pending.attempts + 1, **values))


def _said(connection: Connection, row: Row[Any]) -> str:
    here = (remembered.c.destination == row.destination) & (remembered.c.subject == row.subject)
    return connection.execute(select(remembered.c.said).where(here)).scalar() or ""
