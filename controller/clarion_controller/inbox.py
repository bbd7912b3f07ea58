"""From the gateway's thread to the event loop: what agents sent, in order, as one batch a turn.

A turn costs by the hosts that it looks at, far more than by the reports that it takes. So the taker rests after each
for a few times as long as it took, and what arrives meanwhile shares the next: reports that trickle in never have
the loop to themselves, and the first after a silence is taken at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from clarion_controller.gateway.gateway import Inbound

# Minutes of a large fleet's heartbeats. Beyond, the oldest go: agents repeat what was not acknowledged.
MAX_WAITING = 100_000
# A fifth of a second's work: the API is never kept waiting for longer.
MAX_BATCH = 1_000
# How long to rest, in turns; and at most how long (s), as each step of a rollout waits for it.
REST = 3
LONGEST_REST = 0.05


class Inbox:
    """Any thread delivers; one task of the loop takes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Inbound] = deque(maxlen=MAX_WAITING)
        self._bell = asyncio.Event()
        self._is_awaited = False
        self._taken_at = time.monotonic()

    def deliver(self, batch: Sequence[Inbound]) -> None:
        """Hand over what arrived; returns at once. Any thread."""
        self._waiting.extend(batch)
        # A loop that is not waiting looks by itself: waking it costs as much as a report.
        if self._is_awaited:
            self._is_awaited = False
            self._loop.call_soon_threadsafe(self._bell.set)

    async def take(self, patience: float) -> list[Inbound]:
        """Return all that waits, or nothing after `patience` seconds."""
        # Whoever else wants the loop gets it first, however much has arrived.
        await asyncio.sleep(self._rest())
        self._bell.clear()
        # Before looking: whoever delivers from now on rings.
        self._is_awaited = True
        if not self._waiting:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._bell.wait(), patience)
        self._is_awaited = False
        self._taken_at = time.monotonic()
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]

    def _rest(self) -> float:
        """Return for how long to rest (s) after the turn that took the last batch; a full batch never waits."""
        turn = time.monotonic() - self._taken_at
        return 0.0 if len(self._waiting) >= MAX_BATCH else min(REST * turn, LONGEST_REST)
