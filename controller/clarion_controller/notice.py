"""What people are told: one notice says what, where, since when, who is affected, and the next command."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec


class Kind(str, Enum):
    """What has happened."""

    DEPLOYMENT_FAILED = "deployment_failed"
    DEPLOYMENT_HALTED = "deployment_halted"
    ROLLED_BACK = "rolled_back"
    DEPLOYMENT_DEGRADED = "deployment_degraded"
    DEPLOYMENT_SUCCEEDED = "deployment_succeeded"
    STRAGGLER_CAUGHT_UP = "straggler_caught_up"
    AGENT_LOST = "agent_lost"
    AGENT_BACK = "agent_back"
    BUILD_BROKEN = "build_broken"
    BUILD_REPAIRED = "build_repaired"
    NIGHTLY_BROKEN = "nightly_broken"
    NIGHTLY_REPAIRED = "nightly_repaired"
    WITHDRAWN = "withdrawn"
    TEST = "test"


class Severity(str, Enum):
    """How urgent it is; PagerDuty's own four words."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place, the least urgent first."""
        return list(Severity).index(self)


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that people are told.

    `id` is made from the event, so the same event never becomes two notices. `incident` names what goes wrong and
    comes right again, and is "" if nothing is wrong; of two notices about one incident, the one with `resolves` ends
    it. `title` is one line: what and where; `reason` a sentence. Times are UTC seconds: `since` is when it began, `at`
    when this happened.
    """

    id: str
    kind: Kind
    severity: Severity
    incident: str
    resolves: bool = False
    environment: str = ""
    app: str = ""
    title: str
    reason: str = ""
    since: float
    at: float
    affected: tuple[str, ...] = ()
    next_command: str = ""
    cluster: str = ""

    @property
    def opens(self) -> bool:
        """Whether it says that something is wrong, so that whoever hears it has to hear of the end as well."""
        return bool(self.incident) and not self.resolves and self.severity is not Severity.INFO


class Undelivered(Exception):
    """A notice did not arrive; `retry_after` seconds were asked for, `is_final` says that trying again is no use."""

    def __init__(self, reason: str, *, retry_after: float | None = None, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.is_final = reason, retry_after, is_final


class Notifier(Protocol):
    """One way to tell people."""

    def send(self, notice: Notice) -> None:
        """Tell them, within a time limit of its own.

        Raises:
            Undelivered: it did not arrive.
        """
