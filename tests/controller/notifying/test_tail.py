"""Reading the log of a controller that goes on writing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs
from tests.controller.fake_fleet import FakeFleet, Faults, fleet_of

from clarion_controller.notifying.tail import PORTION, Tail
from clarion_controller.state.events import DeploymentAccepted, HostJoined, HostMoved
from clarion_controller.state.log import Batch
from clarion_controller.state.tables import events
from clarion_protocol.errors import BadConfig


@pytest.fixture
def fleet(tmp_path: Path) -> FakeFleet:
    """Return a fleet whose controller writes its log where a home has it."""
    (tmp_path / "state").mkdir()
    return fleet_of(tmp_path / "state", 2)


@pytest.fixture
def tail(fleet: FakeFleet, tmp_path: Path) -> Iterator[Tail]:
    """Return a reader of that log."""
    with closing(Tail(tmp_path)) as opened:
        yield opened


def joined(name: str) -> Batch:
    """Return something to record."""
    return Batch([(None, HostJoined(at=1.0, host=name, name=name, environment="production", invite=""))])


def test_events_come_in_order_with_where_they_belong(fleet: FakeFleet, tail: Tail) -> None:
    """Each event of a deployment has its document and its hosts' names."""
    before = tail.end()
    walk = fleet.run(fleet.deploy())
    entries = tail.after(before)
    assert [entry.seq for entry in entries] == list(range(before + 1, tail.end() + 1))
    assert isinstance(entries[0].event, DeploymentAccepted)
    moved = next(entry for entry in entries if isinstance(entry.event, HostMoved))
    assert moved.context.id == walk.state.deployment.id
    assert moved.context.deployment == walk.state.deployment
    assert sorted(moved.context.names.values()) == ["web-0001", "web-0002"]


def test_names_are_known_also_to_who_begins_in_the_middle(fleet: FakeFleet, tail: Tail) -> None:
    """They are in the log, before the place where one reads on."""
    fleet.run(fleet.deploy())
    (entry,) = tail.after(tail.end() - 1)
    assert sorted(entry.context.names.values()) == ["web-0001", "web-0002"]


def test_a_long_log_is_read_in_portions(fleet: FakeFleet, tail: Tail) -> None:
    """However much has happened, memory is bounded."""
    for _ in range(PORTION):
        fleet.log.record(joined("one"))
    first = tail.after(0)
    assert len(first) == PORTION
    assert tail.after(first[-1].seq)[0].seq == PORTION + 1


def test_it_sees_whether_anything_was_written(fleet: FakeFleet, tail: Tail) -> None:
    """So a log at rest is not read."""
    assert not tail.has_grown()
    fleet.log.record(joined("one"))
    assert tail.has_grown()
    assert not tail.has_grown()


def test_it_cannot_write_and_holds_nothing(fleet: FakeFleet, tail: Tail) -> None:
    """A writer never waits for it, and the log can be shortened while it looks on."""
    tail.after(0)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        tail._connection.execute("DELETE FROM events")
    with fleet.database.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        blocked, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert blocked == 0


def test_an_event_that_cannot_be_read_is_passed_over_and_said(fleet: FakeFleet, tail: Tail) -> None:
    """One of a newer version, after a step back: what follows it is told."""
    end = tail.end()
    row = {"at": 1.0, "kind": "later", "deployment": None, "body": b'{"kind":"later"}', "previous": "", "hash": ""}
    with fleet.database.begin() as connection:
        connection.execute(insert(events), {**row, "seq": end + 1})
    with capture_logs() as logs:
        (entry,) = tail.after(end)
    assert (entry.seq, entry.event) == (end + 1, None)
    assert logs[0]["event"] == "notifying.event_unreadable"


def test_without_a_log_it_says_what_to_do(tmp_path: Path) -> None:
    """Nobody gets a traceback."""
    with pytest.raises(BadConfig, match="cannot be read"):
        Tail(tmp_path)


def test_a_failing_host_is_found_in_a_real_log(tmp_path: Path) -> None:
    """What a rollout really records, not what a test thinks it does."""
    (tmp_path / "state").mkdir()
    fleet = fleet_of(tmp_path / "state", 2, Faults(is_dead=True))
    fleet.run(fleet.deploy(max_unreachable="50%", max_parallel="1"))
    with closing(Tail(tmp_path)) as tail:
        names = {entry.context.name_of(getattr(entry.event, "host", "")) for entry in tail.after(0)}
    assert "web-0001" in names
