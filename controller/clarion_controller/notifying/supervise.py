"""Keeping the process that tells people running, if there is anybody to tell: a task of `serve`.

The controller starts it, waits for its end and nothing else: it never speaks to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.notifying.destinations import destinations
from clarion_protocol.errors import BadConfig

COMMAND = (sys.executable, "-m", "clarion_controller.notifying.main")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Care:
    """How it is kept running, in seconds: looked after, begun again, ended. Who lived for `settled` begins afresh."""

    look_every: float = 5.0
    first_pause: float = 1.0
    longest_pause: float = 60.0
    settled: float = 120.0
    last_moment: float = 5.0


async def keep_notifying(home: Path, fleet: Callable[[], Fleet], care: Care = Care()) -> None:
    """Run the process for as long as fleet.toml names somebody to tell, until cancelled."""
    pause = care.first_pause
    while True:
        begun = time.monotonic()
        try:
            if not _is_needed(fleet, if_unknown=False):
                await asyncio.sleep(care.look_every)
                continue
            await _one_life(home, fleet, care)
        except Exception as error:  # noqa: BLE001 (what only informs never ends a controller that leads rollouts)
            _log.error("notifying.not_begun", reason=str(error), exc_info=error)
        if time.monotonic() - begun > care.settled:
            pause = care.first_pause
        await asyncio.sleep(pause)
        pause = min(2 * pause, care.longest_pause)


async def _one_life(home: Path, fleet: Callable[[], Fleet], care: Care) -> None:
    """Run the process until it ends, or nobody is to be told any more."""
    # In "/", because Python looks for modules where it starts.
    process = await asyncio.create_subprocess_exec(
        *COMMAND, str(home), str(os.getpid()), stdin=DEVNULL, cwd="/", start_new_session=True
    )
    ended = asyncio.create_task(process.wait())
    try:
        while _is_needed(fleet, if_unknown=True):
            await asyncio.wait([ended], timeout=care.look_every)
            if ended.done():
                _log.error("notifying.died", status=ended.result())
                return
    finally:
        await _end(process, ended, care)


async def _end(process: Process, ended: asyncio.Task[int], care: Care) -> None:
    """Ask it to end, and kill it if it does not, or if nobody waits for that any more; in any case reap it."""
    try:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait([ended], timeout=care.last_moment)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await ended


def _is_needed(fleet: Callable[[], Fleet], *, if_unknown: bool) -> bool:
    """Return whether there is anybody to tell; while fleet.toml is broken, `if_unknown`: nothing begins or ends."""
    try:
        return bool(destinations(fleet()))
    except BadConfig:
        return if_unknown
