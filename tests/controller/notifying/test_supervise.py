"""Keeping the process running: real processes, begun and ended by what fleet.toml says."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.controller.notifying.test_process import Home, pid_of

from clarion_controller.fleet_toml.fleet import Fleet, load_fleet
from clarion_controller.notifying.supervise import Care, keep_notifying
from clarion_protocol.errors import BadConfig

HASTE = Care(look_every=0.05, first_pause=0.05, longest_pause=0.1, settled=60, last_moment=1)
CHANNEL = '[[notify]]\nname = "chat"\nslack = { url = "env:SLACK" }\n'


class Kept:
    """A home whose process is kept running, and what fleet.toml says now."""

    def __init__(self, home: Path, fleet: Fleet | Exception) -> None:
        self.home, self.said = home, fleet

    def fleet(self) -> Fleet:
        """Return the fleet."""
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def becomes(self, holds: Callable[[int | None], bool]) -> int | None:
        """Wait until it holds of the process's number, at most 20 s."""
        for _ in range(1000):
            if holds(pid := pid_of(self.home)):
                return pid
            await asyncio.sleep(0.02)
        raise AssertionError("it never held")

    async def while_kept(self, story: Callable[[Kept], object]) -> None:
        """Have the process kept running while a coroutine tells its story."""
        task = asyncio.create_task(keep_notifying(self.home, self.fleet, HASTE))
        try:
            await story(self)  # type: ignore[misc]
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert pid_of(self.home) is None


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """Return a home with one channel."""
    home = Home(tmp_path / "home", CHANNEL)
    yield Kept(home.path, load_fleet(home.path / "fleet.toml"))
    home.close()


def test_it_runs_only_while_there_is_anybody_to_tell(kept: Kept) -> None:
    """It begins with the first channel and ends with the last; both without a restart of the controller."""
    with_channel, kept.said = kept.said, Fleet()

    async def story(kept: Kept) -> None:
        await asyncio.sleep(0.3)
        assert pid_of(kept.home) is None
        kept.said = with_channel
        await kept.becomes(lambda pid: pid is not None)
        kept.said = Fleet()
        await kept.becomes(lambda pid: pid is None)

    asyncio.run(kept.while_kept(story))


def test_a_broken_fleet_toml_neither_begins_nor_ends_it(kept: Kept) -> None:
    """It goes on with what it knew."""

    async def story(kept: Kept) -> None:
        pid = await kept.becomes(lambda pid: pid is not None)
        kept.said = BadConfig("fleet.toml is empty")
        await asyncio.sleep(0.5)
        assert pid_of(kept.home) == pid

    asyncio.run(kept.while_kept(story))


def test_a_fault_of_ours_ends_nothing_for_good(kept: Kept) -> None:
    """Whatever it is: who only informs never ends a controller that leads rollouts, and tells again afterwards."""
    well, kept.said = kept.said, RuntimeError("nobody thought of this")

    async def story(kept: Kept) -> None:
        await asyncio.sleep(0.3)
        kept.said = well
        await kept.becomes(lambda pid: pid is not None)
        kept.said = RuntimeError("nor of this")
        await kept.becomes(lambda pid: pid is None)
        kept.said = well
        await kept.becomes(lambda pid: pid is not None)

    asyncio.run(kept.while_kept(story))


def test_it_is_begun_again_whenever_it_dies(kept: Kept) -> None:
    """However often; that it died is said."""
    killed: list[int] = []

    async def story(kept: Kept) -> None:
        for _ in range(3):
            pid = await kept.becomes(lambda pid: pid is not None and pid not in killed)
            assert pid
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        await kept.becomes(lambda pid: pid is not None and pid not in killed)

    with capture_logs() as logs:
        asyncio.run(kept.while_kept(story))
    assert [line["event"] for line in logs].count("notifying.died") >= 3


def test_one_that_does_not_end_is_killed(kept: Kept) -> None:
    """A controller that stops leaves nobody behind."""

    async def story(kept: Kept) -> None:
        pid = await kept.becomes(lambda pid: pid is not None)
        assert pid
        while not (kept.home / "state" / "notices.db").exists():  # noqa: ASYNC110 (it is another process's)
            await asyncio.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)

    asyncio.run(kept.while_kept(story))
