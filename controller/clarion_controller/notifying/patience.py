"""When what did not arrive is tried again, and when it is given up: pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clarion_controller.notice import Undelivered
from clarion_controller.notifying.outbox import DAY, Pending


@dataclass(frozen=True)
class Patience:
    """How long (s) is waited: for an answer, between attempts, at all. `longest_asked` bounds what a server asks for.

    Nothing is given up before it was tried `tries` times, however late the clock says that it is. `hung` senders of one
    channel may be abandoned before the process is begun anew.
    """

    answer: float = 60.0
    first_pause: float = 1.0
    longest_pause: float = 900.0
    longest_asked: float = 3_600.0
    give_up_after: float = 3 * DAY
    tries: int = 50
    hung: int = 3

    def next_at(self, pending: Pending, why: Undelivered, now: float, random: Callable[[], float]) -> float | None:
        """Return when to try again; None: never. `random` is between 0 and 1, so that channels do not march in step."""
        is_late = now >= pending.made_at + self.give_up_after and pending.attempts + 1 >= self.tries
        if why.is_final or is_late:
            return None
        doubled = self.first_pause * 2.0 ** min(pending.attempts, 30)
        pause = min(doubled, self.longest_pause) * (0.5 + random() / 2)
        asked = min(why.retry_after or 0.0, self.longest_asked)
        return now + max(pause, asked)

    def left(self, pending: Pending, now: float) -> float:
        """Return how long (s) to wait for the next attempt; a clock that was set back does not make it longer."""
        left = pending.next_at - now
        return left if left <= max(self.longest_asked, self.longest_pause) else 0.0
