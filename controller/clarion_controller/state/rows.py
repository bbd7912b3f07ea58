"""Between rows of the database and values; nothing here decides or remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from clarion_controller.state.events import AnyEvent, Paused, Resumed, Signalled, StatusChanged
from clarion_controller.state.tables import deployments, hosts
from clarion_protocol import strict_json
from clarion_protocol.documents import Report
from clarion_protocol.words import DeploymentStatus


@dataclass(frozen=True)
class StoredDeployment:
    """A deployment as the table keeps it: the envelope that deployers signed, and how it stands."""

    id: str
    stream: str
    seq: int
    digest: str
    envelope: bytes
    accepted_at: float
    signal_seq: int
    status: DeploymentStatus


@dataclass(frozen=True)
class StoredLog:
    """What one host reported of one step; statuses and stages as their words."""

    deployment: str
    host: str
    at: float
    status: str
    stage: str | None
    reason: str
    error: str
    log: str


@dataclass(frozen=True)
class HostWord:
    """A host's newest report, whose number is never accepted again, and when it came."""

    host: str
    at: float
    report: Report


def keep_words(connection: Connection, words: Sequence[HostWord]) -> None:
    """Remember the newest report of each host."""
    newest = {word.host: word for word in words}
    statement = (
        update(hosts)
        .where(hosts.c.id == bindparam("of"))
        .values(report_seq=bindparam("to"), last_seen=bindparam("seen"), last_report=bindparam("report"))
    )
    if newest:
        connection.execute(statement, [_word_row(word) for word in newest.values()])


def keep_standing(connection: Connection, happened: Sequence[tuple[str | None, AnyEvent]]) -> None:
    """Bring the table of deployments up to date with what happened to them."""
    standing: dict[str, dict[str, Any]] = {}
    for deployment, event in happened:
        if deployment is not None and (values := _changed_by(event)):
            standing.setdefault(deployment, {}).update(values)
    for deployment, values in standing.items():
        connection.execute(update(deployments).where(deployments.c.id == deployment).values(values))


def stored_deployment(row: Row[Any]) -> StoredDeployment:
    """Return a row of the table of deployments."""
    return StoredDeployment(**{**row._mapping, "status": DeploymentStatus(row.status)})  # noqa: SLF001 (its API)


def stored_log(row: Row[Any]) -> StoredLog:
    """Return a row of the table of logs."""
    _, *fields = row
    return StoredLog(*fields)


def _word_row(word: HostWord) -> dict[str, Any]:
    return {"of": word.host, "to": word.report.seq, "seen": word.at, "report": strict_json.dumps(word.report)}


def _changed_by(event: AnyEvent) -> dict[str, Any]:
    if isinstance(event, Signalled):
        return {"signal_seq": event.seq}
    if isinstance(event, StatusChanged):
        return {"status": event.status.value}
    if isinstance(event, Paused):
        return {"status": DeploymentStatus.PAUSED.value}
    return {"status": DeploymentStatus.RUNNING.value} if isinstance(event, Resumed) else {}
