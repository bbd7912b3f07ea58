"""Words for people: numbers, times and ids as they read them, and what others say without what could harm a screen."""

from __future__ import annotations

import time

SHORT = 8  # hex digits of an id that people see and type


def one_line(text: str) -> str:
    """Return what a host or the controller says as one line, without what could steer a terminal."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` without control characters, which could move the cursor or recolour the terminal."""
    return "".join(each if each.isprintable() or each == "\t" else "\N{REPLACEMENT CHARACTER}" for each in text)


def short(id_: str) -> str:
    """Return as much of an id as people type."""
    return id_[:SHORT]


def clock(moment: float) -> str:
    """Return a time of day, here."""
    return time.strftime("%H:%M:%S", time.localtime(moment))


def date(moment: float) -> str:
    """Return a date and time, here."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def ago(moment: float | None, now: float) -> str:
    """Return how long ago something was, as people say it."""
    if moment is None:
        return "never"
    seconds = max(now - moment, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def count(number: int, noun: str) -> str:
    """Return "1 host", "3 hosts"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
