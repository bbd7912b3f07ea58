"""What has to be looked after all the time: silent builders and slow ones, the record, old builds, green ones.

Nothing that goes wrong with a build may end a controller that leads rollouts: it is said in the log, and tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from clarion_controller.builds.after_build import AfterBuild
from clarion_controller.builds.builds import Builds
from clarion_controller.builds.record import tell
from clarion_controller.state.log import StateLog

LOOK_EVERY_S = 10.0

_log = structlog.get_logger(__name__)


async def look_after(builds: Builds, log: StateLog) -> None:
    """Keep the queue and the record true."""

    async def look() -> None:
        for build in await builds.do(builds.queue.give_up_silent):
            _log.warning("build.builder_silent", build=build.id, status=build.status.value)
            builds.wake()
        for build in await builds.do(builds.give_up_overdue):
            _log.warning("build.overdue", build=build.id, reason=build.reason)
            builds.wake()
        await builds.do(builds.drop_ended)
        await builds.do(lambda: tell(builds.queue, log))
        await builds.do(builds.prune)

    try:
        await _after_each_change(builds, look)
    finally:
        builds.end()


async def look_after_green(builds: Builds, after: AfterBuild) -> None:
    """Publish and deploy what is green, and what waits to be deployed."""

    async def look() -> None:
        await after.settle_all()
        await after.auto_deploy.go_on()

    await _after_each_change(builds, look)


async def _after_each_change(builds: Builds, look: Callable[[], Awaitable[None]]) -> None:
    while True:
        changed = builds.changed
        try:
            await look()
        except Exception as error:  # noqa: BLE001 (see above)
            _log.error("builds.fault", exc_info=error)
            await asyncio.sleep(LOOK_EVERY_S)
        waiting = asyncio.create_task(changed.wait())
        try:
            # Not wait_for(): before Python 3.12, a change in the same moment makes it forget that it was cancelled.
            await asyncio.wait([waiting], timeout=LOOK_EVERY_S)
        finally:
            waiting.cancel()
