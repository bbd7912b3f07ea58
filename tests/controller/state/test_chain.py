"""The hash chain: any change to the log is found, at the entry where it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clarion_controller.state.chain import GENESIS, Entry, entry_after, verify_chain

Damage = Callable[[list[Entry]], object]


def log_of(count: int) -> list[Entry]:
    """Return a whole log."""
    entries: list[Entry] = []
    for number in range(count):
        fields = (float(number), "host_moved", "d" * 32, b'{"n":%d}' % number)
        entries.append(entry_after(entries[-1] if entries else None, fields))
    return entries


def change(place: int, **fields: object) -> Damage:
    """Return the damage of changing fields of one entry."""

    def do(entries: list[Entry]) -> None:
        entries[place] = replace(entries[place], **fields)  # type: ignore[arg-type]

    return do


def forge(entries: list[Entry]) -> None:
    """Change an entry and make its own hash right again."""
    forged = entry_after(entries[1], (9.0, "halted", None, b"{}"))
    entries[2] = forged


def test_an_untouched_log_is_whole() -> None:
    """The verdict counts the entries and names the last hash."""
    entries = log_of(5)
    verdict = verify_chain(entries)
    assert (verdict.entries, verdict.head, verdict.broken_at) == (5, entries[-1].hash, None)
    assert verify_chain([]).head == GENESIS


@pytest.mark.parametrize(
    ("damage", "found_at"),
    [
        pytest.param(change(2, body=b'{"n":9}'), 3, id="another body"),
        pytest.param(change(2, at=9.0), 3, id="another time"),
        pytest.param(change(2, kind="halted"), 3, id="another kind"),
        pytest.param(change(2, deployment=None), 3, id="another deployment"),
        pytest.param(change(2, hash="0" * 64), 3, id="another hash"),
        pytest.param(change(0, previous="1" * 64), 1, id="another beginning"),
        pytest.param(lambda entries: entries.pop(2), 4, id="one dropped"),
        pytest.param(lambda entries: entries.pop(0), 2, id="the first dropped"),
        pytest.param(lambda entries: entries.insert(2, entries[1]), 2, id="one doubled"),
        pytest.param(lambda entries: entries.reverse(), 5, id="another order"),
        pytest.param(forge, 4, id="one forged with a right hash: its successor gives it away"),
    ],
)
def test_damage_is_found_where_it_begins(damage: Damage, found_at: int) -> None:
    """Changed, dropped, inserted, moved: the chain breaks there."""
    entries = log_of(5)
    damage(entries)
    assert verify_chain(entries).broken_at == found_at
