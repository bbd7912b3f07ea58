"""Answers that are got once for everybody who asks at the same time, and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST = 1024  # answers kept; the oldest go first
ANEW_AFTER = 10.0  # seconds that pass before an answer is got anew because somebody says that it is of no use

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Got(Generic[_T]):
    answer: asyncio.Future[_T]
    since: float


class Once(Generic[_T]):
    """What `get(key)` returns in a thread, kept for `keep` seconds; an error goes to who asked and is not kept."""

    def __init__(self, get: Callable[[str], _T], keep: float, threads: Executor) -> None:
        self._get = get
        self._keep = keep
        self._threads = threads
        self._got: OrderedDict[str, _Got[_T]] = OrderedDict()

    async def of(self, key: str, *, is_anew: bool = False) -> _T:
        """Return the answer; `is_anew` asks for one that is not older than a moment."""
        got = self._got.get(key)
        longest = min(ANEW_AFTER, self._keep) if is_anew else self._keep
        if got is None or time.monotonic() - got.since > longest or _has_failed(got.answer):
            got = self._begin(key)
        # Who goes away takes nobody else's answer along.
        return await asyncio.shield(got.answer)

    def _begin(self, key: str) -> _Got[_T]:
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._get, key)
        got = _Got(answer, time.monotonic())
        self._got[key] = got
        answer.add_done_callback(lambda _: self._forget_failure(key, got))
        self._got.move_to_end(key)
        while len(self._got) > MOST:
            self._got.popitem(last=False)
        return got

    def _forget_failure(self, key: str, got: _Got[_T]) -> None:
        # Looked at in any case: an error that nobody waits for any more is no news.
        if _has_failed(got.answer) and self._got.get(key) is got:
            del self._got[key]


def _has_failed(answer: asyncio.Future[_T]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)
