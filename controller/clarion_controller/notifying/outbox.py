"""What is to be delivered, in `<home>/state/notices.db`: written in one transaction with how far the log was read."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from clarion_controller.notifying.notices_file import NAME, open_notices
from clarion_controller.notifying.tables import incidents, outbox, remembered, standing

DAY = 86_400.0
KEPT = 30 * DAY  # what was sent, or given up
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

    It opens the incident `opens` for that destination, if any; UTC seconds.
    """

    destination: str
    subject: str
    body: bytes
    made_at: float
    opens: str = ""


@dataclass(frozen=True)
class Changes:
    """What follows from a portion of the log: where it stands, what goes out, which incidents are over.

    `knowing` are destinations that were told of incidents (by name) before, as far as that is not kept here.
    """

    standing: Standing
    outgoing: Sequence[Outgoing] = ()
    closed: Collection[str] = ()
    knowing: Mapping[str, Collection[str]] = field(default_factory=dict)


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
        self.path = home / "state" / NAME
        self._engine, self.is_begun_anew = open_notices(home)
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

    def waited_for(self) -> dict[str, float]:
        """Return the incidents whose end somebody waits for, and when each began to be known."""
        first = select(incidents.c.incident, func.min(incidents.c.opened_at).label("opened_at")).group_by(
            incidents.c.incident
        )
        with self._engine.connect() as connection:
            return {row.incident: row.opened_at for row in connection.execute(first)}

    def advance(self, changes: Changes) -> None:
        """Keep all of `changes`, or nothing."""
        with self._writing() as connection:
            row = vars(changes.standing)
            connection.execute(insert_or(standing).values(id=1, **row).on_conflict_do_update(set_=row))
            for each in changes.outgoing:
                _put(connection, each)
            for incident, destinations in changes.knowing.items():
                for destination in destinations:
                    _open(connection, incident, destination, time.time())
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
        """Give up what waits for destinations that are none any more, and its ends; return how much that was."""
        lost = (outbox.c.status == PENDING) & outbox.c.destination.not_in(kept)
        with self._writing() as connection:
            values = {"status": GIVEN_UP, "error": "it is not in fleet.toml any more", "ended_at": now}
            connection.execute(delete(incidents).where(incidents.c.destination.not_in(kept)))
            return connection.execute(update(outbox).where(lost).values(values)).rowcount

    def rename(self, old: str, new: str) -> None:
        """Let a destination that has another name now go on as itself."""
        with self._writing() as connection:
            for table in (outbox, incidents):
                connection.execute(update(table).where(table.c.destination == old).values(destination=new))

    def prune(self, now: float) -> None:
        """Forget what ended long ago."""
        with self._writing() as connection:
            connection.execute(delete(outbox).where(outbox.c.ended_at < now - KEPT))
            connection.execute(delete(remembered).where(remembered.c.at < now - KEPT))

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        # One after the other: a transaction of SQLite that began before another wrote could not write any more.
        with self._lock, self._engine.begin() as connection:
            yield connection


def _put(connection: Connection, each: Outgoing) -> None:
    row = {key: getattr(each, key) for key in ("destination", "subject", "body", "made_at")}
    connection.execute(insert(outbox), row)
    if each.opens:
        _open(connection, each.opens, each.destination, each.made_at)


def _open(connection: Connection, incident: str, destination: str, now: float) -> None:
    opened = {"incident": incident, "destination": destination, "opened_at": now}
    connection.execute(insert_or(incidents).values(opened).on_conflict_do_nothing())


def _end(connection: Connection, pending: Pending, **values: object) -> None:
    statement = update(outbox).where(outbox.c.id == pending.id)
    connection.execute(statement.values(attempts=pending.attempts + 1, **values))


def _said(connection: Connection, row: Row[Any]) -> str:
    here = (remembered.c.destination == row.destination) & (remembered.c.subject == row.subject)
    return connection.execute(select(remembered.c.said).where(here)).scalar() or ""
