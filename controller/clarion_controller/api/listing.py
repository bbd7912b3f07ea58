"""Deployments as they are listed: how many hosts stand where, not each of them.

What the streams hold no more is over and does not change: it is replayed from the log and counted once. Replaying 5,000
hosts takes a fifth of a second, for which the event loop must not stand still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache

from clarion_controller.api.answers import DeploymentAnswer
from clarion_controller.api.views import Views
from clarion_controller.history import History
from clarion_controller.state.log import StateLog

MAX_LISTED = 1000  # how many are listed at once, and are kept


class Listing:
    """Past and present deployments of one controller, counted."""

    def __init__(self, log: StateLog, history: History, views: Views) -> None:
        self._log = log
        self._history = history
        self._views = views
        self._past = lru_cache(maxsize=MAX_LISTED)(self._replayed)

    async def newest(self, streams: Sequence[str], limit: int) -> list[DeploymentAnswer]:
        """Return the newest deployments of all these streams together, newest first."""
        stored = [each for stream in streams for each in self._log.history(stream, limit)]
        stored.sort(key=lambda each: (each.accepted_at, each.seq), reverse=True)
        return [await self._counted(each.id) for each in stored[:limit]]

    async def _counted(self, id_: str) -> DeploymentAnswer:
        state = self._history.present(id_)
        return self._views.counted(state) if state else await asyncio.to_thread(self._past, id_)

    def _replayed(self, id_: str) -> DeploymentAnswer:
        return self._views.counted(self._history.replay(id_))
