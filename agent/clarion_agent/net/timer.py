"""When the next thing is due: never for all hosts of a fleet at once."""

from __future__ import annotations

import random
import time


class Timer:
    """Due after `interval` seconds, a quarter sooner or later at random."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.at = 0.0
        self.restart()

    def restart(self) -> None:
        """Be due after the interval, counted from now."""
        self.at = time.monotonic() + self._interval * random.uniform(0.75, 1.25)  # noqa: S311 (hides nothing)

    def hasten(self, within: float) -> None:
        """Be due at some moment in the next `within` seconds, unless it is sooner anyway."""
        self.at = min(self.at, time.monotonic() + within * random.random())  # noqa: S311

    @property
    def left(self) -> float:
        """How many seconds are left, none if it is due."""
        return max(0.0, self.at - time.monotonic())

    @property
    def is_due(self) -> bool:
        """Whether the time has come."""
        return time.monotonic() >= self.at
