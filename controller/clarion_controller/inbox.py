"""From the gateway's thread to the event loop: what agents sent, in order, as one batch a turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from clarion_controller.gateway.gateway import Inbound

# Minutes of a large fleet's heartbeats. Beyond, the oldest go: agents repeat what was not acknowledged.
MAX_WAITING = 100_000
# A fifth of a second's work: the API is never kept waiting for longer.
MAX_BATCH = 1_000


class Inbox:
    """Any thread delivers; one task of the loop takes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Inbound] = deque(maxlen=MAX_WAITING)
        self._bell = asyncio.Event()

    def deliver(self, batch: Sequence[Inbound]) -> None:
        """Hand over what arrived; returns at once. Any thread."""
        self._waiting.extend(batch)
        self._loop.call_soon_threadsafe(self._bell.set)

    async def take(self, patience: float) -> list[Inbound]:
        """Return all that waits, or nothing after `patience` seconds."""
        if not self._waiting:
            self._bell.clear()
            try:
                await asyncio.wait_for(self._bell.wait(), patience)
            except asyncio.TimeoutError:
                return []
        # Whoever else wants the loop gets it first, however much has arrived.
        await asyncio.sleep(0)
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
