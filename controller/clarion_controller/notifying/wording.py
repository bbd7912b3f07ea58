"""How a notice is worded: everything in it is bounded, on one line, and free of control characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifiers.text import line

MAX_TITLE = 150
MAX_REASON = 1_000
MAX_AFFECTED = 50
# Alike in the reason of whatever names a command that takes an id.
SHORT_ID = 8


def worded(seq: int, kind: Kind, **what: Any) -> Notice:
    """Return the notice that the event with this number gives rise to; too long texts are cut."""
    what["title"] = line(what["title"], MAX_TITLE)
    what["reason"] = line(what.get("reason", ""), MAX_REASON)
    what["affected"] = bounded(what.get("affected", ()))
    return Notice(id=f"{what['at']:.0f}-{seq}-{kind.value}", kind=kind, **what)


def no_longer_watched(incident: str, *, since: float, at: float, title: str, reason: str, **place: Any) -> Notice:
    """Return the notice that an incident is over though nothing says that it is well again."""
    return Notice(
        id=f"withdrawn-{incident}",
        kind=Kind.WITHDRAWN,
        severity=Severity.INFO,
        incident=incident,
        resolves=True,
        title=line(title, MAX_TITLE),
        reason=line(reason, MAX_REASON),
        since=min(since, at),
        at=at,
        next_command="clarion notify",
        **place,
    )


def bounded(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in order, the first of them if they are many, and how many more there are."""
    ordered = sorted({line(name, MAX_TITLE) for name in names})
    more = len(ordered) - MAX_AFFECTED
    return tuple(ordered) if more <= 0 else (*ordered[:MAX_AFFECTED], f"and {more} more")


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, in the plural unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
