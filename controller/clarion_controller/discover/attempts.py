"""Asking sources without asking too much: each by one attempt at a time, all together by few."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from clarion_controller.discover.asked import Asked
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.inventory import stamp_of
from clarion_controller.fleet_toml.fleet import HostSource
from clarion_protocol.errors import ClarionError, CloudUnavailable

Ask = Callable[[HostSource, Path], Awaitable[list[Discovered]]]
Heard = Callable[[Asked, Sequence[Discovered]], None]

MAX_CHILDREN = 2

_JITTER = (0.9, 1.1)  # so that sources which were asked together once are not for ever

_log = structlog.get_logger(__name__)


class Attempts:
    """Makes attempts to ask the sources of a home, and hands their answers to `heard`."""

    def __init__(self, ask: Ask, home: Path, heard: Heard) -> None:
        self._ask, self._home, self._heard = ask, home, heard
        self._under_way: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MAX_CHILDREN)

    def begin(self, source: Asked, now: float) -> asyncio.Task[None]:
        """Begin to ask a source, unless it is being asked; return the attempt, which never fails."""
        if source.attempt is None or source.attempt.done():
            source.tried_at, source.jitter = now, random.uniform(*_JITTER)  # noqa: S311 (no secret)
            source.attempt = asyncio.create_task(self._try(source))
            self._under_way.add(source.attempt)
            source.attempt.add_done_callback(self._under_way.discard)
        return source.attempt

    async def stop(self) -> None:
        """End what is under way."""
        under_way = list(self._under_way)
        for attempt in under_way:
            attempt.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _try(self, source: Asked) -> None:
        try:
            self._heard(source, await self._hosts(source))
        except ClarionError as error:
            source.fail(error)
        except Exception:  # noqa: BLE001 (the outermost: a bug about one source must neither hide nor stop the others)
            _log.exception("discovery.bug", environment=source.environment, source=source.config.label)
            source.fail(CloudUnavailable(f"{source.config.label} cannot be asked; the controller's log says why"))

    async def _hosts(self, source: Asked) -> Sequence[Discovered]:
        """Ask, or return the last answer of a file that is still the same."""
        inventory = source.config.inventory
        stamp = stamp_of(self._home / inventory) if inventory is not None else None
        if stamp and stamp == source.stamp and source.belief.latest:
            return source.belief.latest.hosts
        async with self._turns:
            hosts = await self._ask(source.config, self._home)
        source.stamp = stamp
        return hosts
