"""The journal: an intent that is there whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clarion_agent.journal import Intent, Journal, Phase
from clarion_protocol.words import HostStatus, Stage

INTENT = Intent(
    app="shop",
    deployment="1" * 32,
    digest="2" * 64,
    stream="production/shop",
    before="1-1.0.0",
    to="2-2.0.0",
    phase=Phase.SWITCHING,
    stage=Stage.ACTIVATE,
    is_drained=True,
    lease_until=1_800_000_000,
    bake_time=2.5,
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Return an empty journal."""
    return Journal(tmp_path / "journal.json")


def test_an_intent_is_read_as_it_was_written(journal: Journal) -> None:
    """Every field survives."""
    done = msgspec.structs.replace(INTENT, phase=Phase.DONE, outcome=HostStatus.FAILED, reason="why", error="host")
    for intent in (INTENT, done, msgspec.structs.replace(INTENT, before=None, stage=None)):
        journal.write(intent)
        assert journal.read() == intent


def test_a_journal_that_cannot_be_read_is_none(journal: Journal) -> None:
    """Cut off at any length, it says nothing at all."""
    journal.write(INTENT)
    whole = journal.path.read_bytes()

    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        assert journal.read() is None


def test_no_journal_is_none(journal: Journal) -> None:
    """An app that was never deployed has none."""
    assert journal.read() is None


def test_a_disk_that_does_not_answer_is_no_empty_journal(journal: Journal) -> None:
    """Only a missing or damaged file means that nothing was begun."""
    journal.path.mkdir()

    with pytest.raises(IsADirectoryError):
        journal.read()
