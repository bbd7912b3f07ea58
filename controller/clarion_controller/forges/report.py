"""What a forge is told of a commit: how its build stands, and where it was deployed."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec


class Outcome(str, Enum):
    """How it stands."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


class ForgeReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to tell about `commit`: its build (no `environment`), or its deployment to `environment`.

    `id` is made from the event, so nothing is told twice. `deployment` is ours; the forge numbers it in its own way.
    """

    id: str
    repository: str
    commit: str
    ref: str = ""
    outcome: Outcome
    description: str
    environment: str = ""
    deployment: str = ""
    at: float


class Forge(Protocol):
    """Where the source lives, and people look at commits."""

    def tell(self, report: ForgeReport, remembered: str) -> str:
        """Tell it, and return what to remember of this deployment for the next time ("" before the first).

        Raises:
            Undelivered: it did not arrive.
        """
