"""Pushes on their way to the disk: those that come while one transaction is written share the next."""

from __future__ import annotations

import asyncio

from clarion_controller.builds.build import Push
from clarion_controller.builds.builds import Builds

MOST_AT_ONCE = 500

_Waiting = tuple[tuple[Push, str], "asyncio.Future[bool]"]


class Intake:
    """Where pushes come in, on the event loop."""

    def __init__(self, builds: Builds) -> None:
        self._builds = builds
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def push(self, push: Push, app: str) -> bool:
        """Return when `push`, which builds `app`, is on the disk; False if its delivery was known.

        Raises:
            SQLAlchemyError: it is not on the disk.
        """
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(((push, app), kept))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await kept

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._builds.change(lambda: self._builds.queue.push_all([pushed for pushed, _ in batch]))
        except Exception as error:  # noqa: BLE001 (whoever waits hears of it)
            for _, kept in batch:
                if not kept.done():
                    kept.set_exception(error)
            return
        for (_, kept), is_new in zip(batch, answers, strict=True):
            if not kept.done():
                kept.set_result(is_new)
