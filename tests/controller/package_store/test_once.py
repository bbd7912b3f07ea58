"""What many ask for at the same time is got once, and not for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest

from clarion_controller.package_store import once
from clarion_controller.package_store.once import Once

Play = Callable[[Once[str], list[str]], Coroutine[None, None, None]]


def play(scene: Play, get: Callable[[str], str] = str.upper, keep: float = 60.0) -> list[str]:
    """Run a scene with answers that are got in threads; return the keys that were got."""
    got: list[str] = []

    def note(key: str) -> str:
        got.append(key)
        return get(key)

    async def run() -> None:
        with ThreadPoolExecutor(4) as threads:
            await scene(Once(note, keep, threads), got)

    asyncio.run(run())
    return got


def test_who_asks_at_the_same_time_shares_an_answer() -> None:
    """Fifty for each of two keys."""

    async def scene(answers: Once[str], _: list[str]) -> None:
        asked = [answers.of(key) for key in ("a", "b") for _ in range(50)]
        assert await asyncio.gather(*asked) == ["A"] * 50 + ["B"] * 50

    assert sorted(play(scene)) == ["a", "b"]


def test_an_answer_that_is_too_old_is_got_anew() -> None:
    """With nothing kept, each that comes later gets its own."""

    async def scene(answers: Once[str], _: list[str]) -> None:
        await answers.of("a")
        await asyncio.sleep(0.01)
        await answers.of("a")

    assert play(scene, keep=0.0) == ["a", "a"]


def test_an_error_goes_to_who_asked_and_is_not_kept() -> None:
    """All who wait for it get it; the next one asks again."""
    failures = [OSError("first")]

    def get(key: str) -> str:
        if failures:
            raise failures.pop()
        return key

    async def scene(answers: Once[str], _: list[str]) -> None:
        results = await asyncio.gather(answers.of("a"), answers.of("a"), return_exceptions=True)
        assert [type(each) for each in results] == [OSError, OSError]
        assert await answers.of("a") == "a"

    assert play(scene, get) == ["a", "a"]


def test_who_goes_away_takes_no_answer_along() -> None:
    """One of two that wait is cancelled; the other is answered."""
    may_answer = threading.Event()

    def get(key: str) -> str:
        assert may_answer.wait(10)
        return key

    async def scene(answers: Once[str], _: list[str]) -> None:
        gone, stays = asyncio.create_task(answers.of("a")), asyncio.create_task(answers.of("a"))
        await asyncio.sleep(0.01)
        gone.cancel()
        may_answer.set()
        assert await stays == "a"
        with pytest.raises(asyncio.CancelledError):
            await gone

    assert play(scene, get) == ["a"]


def test_strangers_that_ask_for_anything_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answers go first."""
    monkeypatch.setattr(once, "MOST", 3)

    async def scene(answers: Once[str], got: list[str]) -> None:
        for key in "abcd":
            await answers.of(key)
        await answers.of("d")
        assert got == [*"abcd"]
        await answers.of("a")

    assert play(scene) == [*"abcda"]


def test_errors_push_no_answer_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whoever asks for what is not there would have everybody else's answers got again and again."""
    monkeypatch.setattr(once, "MOST", 3)

    def get(key: str) -> str:
        if key != "good":
            raise OSError(key)
        return key

    async def scene(answers: Once[str], got: list[str]) -> None:
        await answers.of("good")
        for key in "abcdef":
            with pytest.raises(OSError, match=key):
                await answers.of(key)
        await answers.of("good")
        assert got == ["good", *"abcdef"]

    play(scene, get)
