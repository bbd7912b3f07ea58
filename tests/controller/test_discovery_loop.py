"""Discovery's loop: each source is asked in its time, and who wants to know is told what has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.controller.fake_sources import AWAY, AWS, GCP, Rig, servers
from tests.stores import cluster_in

from clarion_controller import discovery
from clarion_controller.discover.asked import POKE_INTERVAL
from clarion_controller.discovery import Discovery


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Make a cluster with one cloud, and a loop that looks around a hundred times a second."""
    monkeypatch.setattr(discovery, "TICK", 0.01)
    rig = Rig(cluster_in(tmp_path, "production", "staging").home)
    rig.write(AWS)
    rig.clouds.says = {"aws": servers(1)}
    return rig


@dataclass
class Loop:
    """A discovery that runs, and the environments that it said have changed."""

    found: Discovery
    changed: list[str]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that the loop does, and then for some more turns of it."""
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline, "it never came true"
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Loop]:
    """Run a discovery as the controller does, until it is told to stop."""
    loop = Loop(rig.discovery(), [])
    task = asyncio.create_task(loop.found.run(loop.changed.append))
    try:
        yield loop
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()


def test_every_source_is_asked_at_the_start_and_then_each_in_its_time(rig: Rig) -> None:
    """With a tenth more or less, so that they drift apart; also while it fails."""

    async def story() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: rig.clouds.asked == ["aws"])
            rig.clock.now += 53
            await loop.until(lambda: rig.clouds.asked == ["aws"])
            rig.clouds.says = {"aws": AWAY}
            rig.clock.now += 14
            await loop.until(lambda: rig.clouds.asked == ["aws"] * 2)
            rig.clock.now += 67
            await loop.until(lambda: rig.clouds.asked == ["aws"] * 3)

    asyncio.run(story())


def test_who_wants_to_know_is_told_of_every_change_and_of_nothing_else(rig: Rig) -> None:
    """An answer like the last one, an error, and an answer that is not believed change nothing."""
    rig.clouds.says = {"aws": servers(1, 2, 3)}

    async def story() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: loop.found.known("production") == servers(1, 2, 3))
            told = len(loop.changed)
            for answer in (servers(1, 2, 3), AWAY, servers(1), servers(1, 2, 3)):
                rig.clouds.says = {"aws": answer}
                await loop.found.refresh("production")
                await asyncio.sleep(0.05)
            assert len(loop.changed) == told
            rig.clouds.says = {"aws": servers(1, 2, 3, 4)}
            await loop.found.refresh("production")
            await loop.until(lambda: len(loop.changed) == told + 1)
            rig.clouds.says = {"aws": servers(1)}
            await loop.found.refresh("production")
            loop.found.accept_shrink("production")
            await loop.until(lambda: len(loop.changed) == told + 2)

    asyncio.run(story())


def test_an_edit_needs_no_restart(rig: Rig) -> None:
    """A list, a new environment, one that goes; and a broken edit changes nothing."""

    async def story() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: loop.found.known("production") == servers(1))
            loop.changed.clear()
            rig.write(f'{AWS}, {{ static = ["db-1"] }}')
            await loop.until(lambda: loop.changed == ["production"])
            (rig.home / "fleet.toml").write_text("[environment.production")
            await asyncio.sleep(0.05)
            assert len(loop.found.known("production") or []) == 2
            rig.write(f'{AWS}, {{ static = ["db-1"] }}', '[environment.staging]\nhosts = [{ static = ["s-1"] }]')
            await loop.until(lambda: loop.changed == ["production", "staging"])
            (rig.home / "fleet.toml").write_text("[environment.staging]")
            await loop.until(lambda: loop.changed == ["production", "staging", "staging"])
            assert not (rig.home / "state" / "discovered" / "production.json").exists()

    asyncio.run(story())


def test_a_source_that_has_answered_at_last_is_news_even_if_it_lists_nobody(rig: Rig) -> None:
    """Only then it is known that there are no others."""
    rig.clouds.says = {"aws": AWAY}

    async def story() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: rig.clouds.asked == ["aws"])
            told = len(loop.changed)
            rig.clouds.says = {"aws": []}
            await loop.found.refresh("production")
            await loop.until(lambda: len(loop.changed) == told + 1)
            assert loop.found.known("production") == []

    asyncio.run(story())


def test_a_poke_has_the_sources_asked_again_soon_but_not_too_often(rig: Rig) -> None:
    """A hundred hosts that join at once are one question; one that is due counts from the last."""

    async def story() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: rig.clouds.asked == ["aws"])
            for _ in range(100):
                loop.found.poke("production")
            await asyncio.sleep(0.05)
            assert rig.clouds.asked == ["aws"]
            rig.clock.now += POKE_INTERVAL
            await loop.until(lambda: rig.clouds.asked == ["aws"] * 2)
            rig.clock.now += POKE_INTERVAL
            await asyncio.sleep(0.05)
            assert rig.clouds.asked == ["aws"] * 2

    asyncio.run(story())


def test_a_host_that_joins_while_its_source_is_asked_has_it_asked_once_more(rig: Rig) -> None:
    """The answer under way may be older than the host."""

    async def story() -> None:
        rig.clouds.gate = asyncio.Event()
        async with running(rig) as loop:
            await loop.until(lambda: rig.clouds.asked == ["aws"])
            rig.clock.now += 1
            loop.found.poke("production")
            rig.clouds.gate.set()
            rig.clock.now += POKE_INTERVAL
            await loop.until(lambda: rig.clouds.asked == ["aws"] * 2)

    asyncio.run(story())


def test_a_restart_begins_with_what_was_believed(rig: Rig) -> None:
    """And tells it, for what was told before may not have been recorded."""

    async def first() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: loop.found.known("production") == servers(1))

    async def second() -> None:
        rig.clouds.says = {"aws": AWAY}
        async with running(rig) as loop:
            assert loop.found.known("production") == servers(1)
            await loop.until(lambda: loop.changed == ["production"])

    asyncio.run(first())
    asyncio.run(second())


def test_half_files_of_the_last_run_are_gone_after_the_start(rig: Rig) -> None:
    """A power cut leaves them, and nobody else would ever remove them."""
    folder = rig.home / "state" / "discovered"
    folder.mkdir(parents=True)
    (folder / ".partial-abc").write_text("{")

    async def story() -> None:
        async with running(rig) as loop:
            await loop.until(lambda: loop.found.known("production") == servers(1))

    asyncio.run(story())
    assert [path.name for path in folder.iterdir()] == ["production.json"]


def test_to_stop_waits_for_no_cloud(rig: Rig) -> None:
    """What is being asked is given up."""
    rig.write(f"{AWS}, {GCP}")

    async def story() -> None:
        rig.clouds.gate = asyncio.Event()
        async with running(rig) as loop:
            await loop.until(lambda: rig.clouds.at_once == 2)
        assert rig.clouds.at_once == 0

    asyncio.run(story())
