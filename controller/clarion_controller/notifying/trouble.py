"""Saying that something does not go, but not every few seconds: a journal may be on the very disk that is full."""

from __future__ import annotations

import time

import structlog
from sqlalchemy.exc import DatabaseError

SAID_EVERY_S = 600.0

_log = structlog.get_logger(__name__)


class Trouble:
    """What went wrong last, and when that was said."""

    def __init__(self) -> None:
        self._reason, self._at = "", 0.0

    def say(self, event: str, error: Exception, **facts: str) -> None:
        """Say it if it is another trouble than the last, or has lasted."""
        is_disk = isinstance(error, DatabaseError)
        reason, now = str(error.orig) if isinstance(error, DatabaseError) else repr(error), time.monotonic()
        if reason == self._reason and now - self._at < SAID_EVERY_S:
            return
        self._reason, self._at = reason, now
        hint = "It is tried again every few seconds. Is the disk full? Run 'clarion doctor'."
        _log.error(event, reason=reason, hint=hint, exc_info=None if is_disk else error, **facts)
