"""What the running agent leaves for `clarion-agent status`."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from clarion_agent.contact import Contact, note_contact, read_contact


def test_the_newest_word_is_read(tmp_path: Path) -> None:
    """Nothing at all counts as no contact."""
    assert read_contact(tmp_path) == Contact()
    note_contact(tmp_path, Contact(is_connected=True, last_beacon=5.0))
    assert read_contact(tmp_path) == Contact(is_connected=True, last_beacon=5.0)


def test_a_full_disk_does_not_end_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only informs is left out; the last word stands."""

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    note_contact(tmp_path, Contact(is_connected=True))
    monkeypatch.setattr(Path, "write_bytes", fill)
    note_contact(tmp_path, Contact())
    assert read_contact(tmp_path) == Contact(is_connected=True)
