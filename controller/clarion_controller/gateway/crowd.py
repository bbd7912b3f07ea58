"""What keeps a crowd at a port that anybody may talk to from shutting the others out, and from filling the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)

Clock = Callable[[], float]


class Allowance:
    """Takes so many messages a second, and from one address half of them: a whole fleet may come from one."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._taken: Counter[str] = Counter()

    def takes(self, address: str, most: int) -> bool:
        """Return whether one more message is taken this second, of `most` altogether."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, Counter()
        if self._taken[address] * 2 >= most or self._taken.total() >= most:
            return False
        self._taken[address] += 1
        return True


class Sparing:
    """Logs one event at most once a second, with how often it happened since."""

    def __init__(self, event: str, clock: Clock = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._said_at = -1.0
        self._times = 0

    def say(self, **what: str) -> None:
        """Log the event, unless that was done just now."""
        self._times += 1
        if self._clock() - self._said_at >= 1:
            _log.info(self._event, **what, times=self._times)
            self._said_at, self._times = self._clock(), 0
