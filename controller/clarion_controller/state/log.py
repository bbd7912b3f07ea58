"""The controller's memory of deployments: an append-only, hash-chained log, written a batch at a time.

A thousand hosts that report at once are one transaction and one fsync. Whatever can be
derived from events (a deployment's status, its last signal) is kept beside them in the
same transaction, so that listing a year of deployments replays none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select

from clarion_controller.state.chain import Entry, Verdict, entry_after, verify_chain
from clarion_controller.state.events import AnyEvent, DeploymentAccepted, Event, kind_of, read_event, write_event
from clarion_controller.state.rows import (
    HostWord,
    StoredDeployment,
    StoredLog,
    keep_standing,
    keep_words,
    stored_deployment,
    stored_log,
)
from clarion_controller.state.tables import deployments, events, logs
from clarion_protocol.documents import Deployment
from clarion_protocol.words import DeploymentStatus

MAX_LOGS = 20_000


@dataclass
class Batch:
    """What is recorded in one transaction: events with the deployment they belong to, reports, and logs."""

    events: list[tuple[str | None, AnyEvent]] = field(default_factory=list)
    words: list[HostWord] = field(default_factory=list)
    logs: list[StoredLog] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.words or self.logs)


class StateLog:
    """The log of one controller; any thread may record, one at a time."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._logs_since_trim = 0
        with database.begin() as connection:
            row = connection.execute(select(events).order_by(events.c.seq.desc()).limit(1)).first()
        self._last = Entry(*row) if row else None

    def record(self, batch: Batch, first: Callable[[Connection], object] | None = None) -> None:
        """Write everything in `batch` and do `first` in the same transaction; it is on the disk when this returns."""
        with self._lock:
            with self._database.begin() as connection:
                if first:
                    first(connection)
                last = self._write(connection, batch)
            # Only now: a transaction that failed must not move the end of the chain.
            self._last = last

    def accept(self, deployment: Deployment, envelope: bytes, accepted: DeploymentAccepted, batch: Batch) -> None:
        """Record that a deployment was taken on, with the envelope that deployers signed, and `batch` after it."""
        row = {
            "id": deployment.id,
            "stream": deployment.stream,
            "seq": deployment.seq,
            "digest": accepted.digest,
            "envelope": envelope,
            "accepted_at": accepted.at,
            "status": DeploymentStatus.RUNNING.value,
        }
        whole = Batch([(deployment.id, accepted), *batch.events])
        self.record(whole, lambda connection: connection.execute(insert(deployments), row))

    def events_of(self, deployment: str) -> list[AnyEvent]:
        """Return what happened in a deployment, in order."""
        wanted = select(events.c.body).where(events.c.deployment == deployment).order_by(events.c.seq)
        with self._database.connect() as connection:
            return [read_event(body) for (body,) in connection.execute(wanted)]

    def events_of_kinds(self, *kinds: type[Event]) -> list[AnyEvent]:
        """Return all events of some kinds, in order; it reads the whole log."""
        tags = [str(kind.__struct_config__.tag) for kind in kinds]
        wanted = select(events.c.body).where(events.c.kind.in_(tags)).order_by(events.c.seq)
        with self._database.connect() as connection:
            return [read_event(body) for (body,) in connection.execute(wanted)]

    def deployment(self, id_: str) -> StoredDeployment | None:
        """Return the deployment with this id."""
        return next(iter(self._deployments(deployments.c.id == id_, limit=1)), None)

    def deployments_like(self, prefix: str) -> list[str]:
        """Return the ids that begin with `prefix`, at most two: more than one is one too many."""
        wanted = select(deployments.c.id).where(deployments.c.id.startswith(prefix, autoescape=True)).limit(2)
        with self._database.connect() as connection:
            return [id_ for (id_,) in connection.execute(wanted)]

    def history(self, stream: str, limit: int) -> list[StoredDeployment]:
        """Return a stream's deployments, newest first."""
        return self._deployments(deployments.c.stream == stream, limit=limit)

    def streams(self) -> dict[str, tuple[int, int]]:
        """Return the newest deployment's and the newest signal's number of each stream."""
        newest = select(deployments.c.stream, func.max(deployments.c.seq), func.max(deployments.c.signal_seq))
        with self._database.connect() as connection:
            rows = connection.execute(newest.group_by(deployments.c.stream))
            return {stream: (seq, signal_seq) for stream, seq, signal_seq in rows}

    def logs(self, deployment: str, host: str | None = None) -> list[StoredLog]:
        """Return what hosts (or one host) reported in a deployment, oldest first."""
        wanted = select(logs).where(logs.c.deployment == deployment).order_by(logs.c.id)
        if host is not None:
            wanted = wanted.where(logs.c.host == host)
        with self._database.connect() as connection:
            return [stored_log(row) for row in connection.execute(wanted)]

    def verify(self) -> Verdict:
        """Return how far the log is whole."""
        with self._database.connect() as connection:
            rows = connection.execution_options(yield_per=1000).execute(select(events).order_by(events.c.seq))
            return verify_chain(Entry(*row) for row in rows)

    def _write(self, connection: Connection, batch: Batch) -> Entry | None:
        entries = list(self._chained(batch.events))
        if entries:
            connection.execute(insert(events), [vars(entry) for entry in entries])
        keep_standing(connection, batch.events)
        keep_words(connection, batch.words)
        self._keep_logs(connection, batch.logs)
        return entries[-1] if entries else self._last

    def _chained(self, happened: Sequence[tuple[str | None, AnyEvent]]) -> Iterator[Entry]:
        last = self._last
        for deployment, event in happened:
            last = entry_after(last, (event.at, kind_of(event), deployment, write_event(event)))
            yield last

    def _deployments(self, condition: Any, limit: int) -> list[StoredDeployment]:
        wanted = select(deployments).where(condition).order_by(deployments.c.seq.desc()).limit(limit)
        with self._database.connect() as connection:
            return [stored_deployment(row) for row in connection.execute(wanted)]

    def _keep_logs(self, connection: Connection, said: Sequence[StoredLog]) -> None:
        if not said:
            return
        connection.execute(insert(logs), [vars(entry) for entry in said])
        self._logs_since_trim += len(said)
        if self._logs_since_trim > MAX_LOGS // 20:
            newest = connection.execute(select(func.max(logs.c.id))).scalar_one()
            connection.execute(delete(logs).where(logs.c.id <= newest - MAX_LOGS))
            self._logs_since_trim = 0
