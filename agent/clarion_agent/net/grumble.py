"""Refusals in the log: each kind at once, then once a minute with how many there were."""

from __future__ import annotations

import time
from collections import Counter

import structlog

from clarion_protocol.errors import ClarionError

INTERVAL = 60.0

_log = structlog.get_logger(__name__)


class Grumble:
    """Logs what was refused, so that a flood of bad messages does not become a flood of lines."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._silent: Counter[str] = Counter()

    def about(self, error: ClarionError) -> None:
        """Log `error` unless one with its code was logged within the last minute."""
        now = time.monotonic()
        if now - self._logged.get(error.code, -INTERVAL) < INTERVAL:
            self._silent[error.code] += 1
            return
        self._logged[error.code] = now
        _log.warning("refused", code=error.code, reason=error.message, more=self._silent.pop(error.code, 0))
