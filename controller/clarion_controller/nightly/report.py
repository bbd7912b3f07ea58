"""What a night found: one check a line, each with the night since which it is broken. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec


class Result(str, Enum):
    """How a check ended; skipped has a reason and is never counted as working."""

    WORKS = "works"
    BROKEN = "broken"
    SKIPPED = "skipped"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a night. `name` is the same every night: "rebuild shop", "server production/web", ...

    `since` is the first of the nights without a break in which it was broken ("2026-11-22"). `findings` are lines
    for people (which files differ, what moved); `log` is the end of the step that failed; `parts` are seconds.
    `dependencies` is what a rebuild was made of, by version of the app: the next night tells by it what has moved.
    """

    name: str
    environment: str = ""
    result: Result
    reason: str = ""
    since: str = ""
    findings: tuple[str, ...] = ()
    log: str = ""
    seconds: float = 0.0
    parts: Mapping[str, float] = {}
    dependencies: Mapping[str, Mapping[str, str]] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One night: `night` is its date in UTC, `failure` why it ended before its end; times are UTC seconds."""

    night: str
    began: float
    ended: float
    checks: tuple[Check, ...] = ()
    failure: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is broken, and the night came to its end."""
        return not self.failure and all(check.result is not Result.BROKEN for check in self.checks)
