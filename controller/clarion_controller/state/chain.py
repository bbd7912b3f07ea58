"""The hash chain over the log of events: whoever changes, drops or inserts one breaks it there.

Each entry's hash covers its fields and the hash before it; the first follows `GENESIS`.
Cutting off the end cannot be seen from inside: whoever keeps the last hash elsewhere sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from clarion_protocol import strict_json

GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One line of the log; `body` is the event in its canonical spelling."""

    seq: int
    at: float
    kind: str
    deployment: str | None
    body: bytes
    previous: str
    hash: str


@dataclass(frozen=True)
class Verdict:
    """How far a log is whole; `broken_at` is the number of the first entry that does not fit, `head` the last hash."""

    entries: int
    head: str
    broken_at: int | None = None


def entry_after(previous: Entry | None, fields: tuple[float, str, str | None, bytes]) -> Entry:
    """Return the entry that follows `previous`, from (at, kind, deployment, body)."""
    seq = previous.seq + 1 if previous else 1
    before = previous.hash if previous else GENESIS
    return Entry(seq, *fields, before, _hash(seq, fields, before))


def verify_chain(entries: Iterable[Entry]) -> Verdict:
    """Return how far `entries`, in the order of their numbers, fit together."""
    last: Entry | None = None
    for entry in entries:
        if not _follows(last, entry):
            return Verdict(last.seq if last else 0, last.hash if last else GENESIS, entry.seq)
        last = entry
    return Verdict(last.seq if last else 0, last.hash if last else GENESIS)


def _follows(last: Entry | None, entry: Entry) -> bool:
    # Whoever edits the file by hand may leave text where bytes were.
    if not isinstance(entry.body, bytes):
        return False
    return entry == entry_after(last, (entry.at, entry.kind, entry.deployment, entry.body))


def _hash(seq: int, fields: tuple[float, str, str | None, bytes], before: str) -> str:
    at, kind, deployment, body = fields
    covered = strict_json.dumps([before, seq, at, kind, deployment])
    return hashlib.sha256(covered + body).hexdigest()
