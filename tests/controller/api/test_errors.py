"""Faults of the controller, as those who run the command line see them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from clarion_controller.api.answers import ErrorAnswer
from clarion_controller.api.errors import answer_database


@pytest.fixture
def full(tmp_path: Path) -> OperationalError:
    """Return what a database says whose disk is full."""
    engine = create_engine(f"sqlite:///{tmp_path / 'clarion.db'}")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
        with pytest.raises(OperationalError) as caught:
            connection.execute(text("CREATE TABLE events (at REAL)"))
    engine.dispose()
    return caught.value


def test_a_full_disk_is_called_that(full: OperationalError) -> None:
    """With what to look at; the code is that of a host without space."""
    answer = answer_database(None, full)  # type: ignore[arg-type]
    assert answer.status_code == 507
    assert isinstance(answer.content, ErrorAnswer)
    assert (answer.content.code, "df -h" in (answer.content.hint or "")) == ("host.no_space", True)
    assert "full" in answer.content.message


def test_any_other_trouble_of_the_database_is_a_fault_of_ours() -> None:
    """It is not taken for a full disk."""
    other = OperationalError("SELECT", {}, sqlite3.OperationalError("no such table: events"))
    assert answer_database(None, other).status_code == 500  # type: ignore[arg-type]
