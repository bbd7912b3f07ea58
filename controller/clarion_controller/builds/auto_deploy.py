"""Deploying what is green, where the repository has `auto_deploy`; what is in the way of it now is waited for.

An order is given once: its reason names the build, so what a crash came between is found again. One that is blocked
(exit code 5: a source of servers does not answer, or lists far fewer than before) waits, and is tried again, until
standing.py says that it came to something or that there is no use in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from clarion_controller.builds.build import Build
from clarion_controller.builds.builds import Builds
from clarion_controller.builds.run_clarion import Clarion, Hear
from clarion_controller.builds.standing import (
    Known,
    Order,
    Standing,
    is_ordered,
    judge,
    pause_after,
    reason_of,
    verdict,
)

MAX_SAID = 65_536  # bytes of one try that are kept
LOOKED_AT = 200  # builds of the repository

_log = structlog.get_logger(__name__)

# Returns what was last ordered of an app in an environment, newest first.
Orders = Callable[[str, str], Sequence[Order]]


@dataclass(frozen=True)
class AutoDeploy:
    """Deploys green builds, one at a time, so that none comes behind a newer one; `orders` tells what was ordered."""

    builds: Builds
    clarion: Clarion
    orders: Orders
    clock: Callable[[], float] = time.time
    _next_try: dict[str, float] = field(default_factory=dict)  # by the ids of builds, on the clock that never jumps

    async def begin(self, build: Build, hear: Hear) -> Standing:
        """Deploy a build that was just published, if it is one of those; `hear` is given what is said of it."""
        repository = self.builds.cluster.fleet.repository.get(build.repository)
        if not repository or not repository.deploys(build.ref):
            return Standing()
        environment = repository.auto_deploy
        return await self._judged(build, environment) or await self._order(build, environment, hear)

    async def go_on(self) -> None:
        """Try again what waits and is due, and end what waits in vain."""
        waiting = await self.builds.do(self.builds.queue.waiting.all)
        for gone in self._next_try.keys() - {build.id for build in waiting}:
            del self._next_try[gone]
        for build in waiting:
            try:
                await self._go_on(build)
            except Exception as error:  # noqa: BLE001, PERF203 (tried again, and in nobody's way)
                _log.error("build.not_deployed", build=build.id, exc_info=error)

    async def _go_on(self, build: Build) -> None:
        waiting = self.builds.queue.waiting
        if standing := await self._judged(build, build.waits_for):
            await self._settle(build, standing)
        elif self._is_due(build) and await self.builds.do(lambda: waiting.hold(build.id)):
            try:
                await self._try_again(build)
            finally:
                waiting.let_go(build.id)

    def _is_due(self, build: Build) -> bool:
        return time.monotonic() >= self._next_try.get(build.id, 0.0)

    async def _try_again(self, build: Build) -> None:
        said = bytearray()

        async def hear(more: bytes) -> None:
            said.extend(more[: MAX_SAID - len(said)])

        standing = await self._order(build, build.waits_for, hear)
        if standing.reason != build.reason:  # else the log holds it already
            await self._settle(build, standing, bytes(said))

    async def _settle(self, build: Build, standing: Standing, said: bytes = b"") -> None:
        """Keep what has come of a deployment that waited, first for people, then for us."""
        line = standing.reason or f"deployed to {standing.deployed_to}"
        _log.info("build.deployment", build=build.id, reason=line)
        await self.builds.do(lambda: self.builds.keep(build, said + f"{line}\n".encode()))
        waiting = self.builds.queue.waiting
        if standing.waits_for:
            await self.builds.do(lambda: waiting.go_on(build.id, standing.reason))
        else:
            await self.builds.change(lambda: waiting.end(build.id, standing.reason, standing.deployed_to))

    async def _judged(self, build: Build, environment: str) -> Standing | None:
        return judge(build, environment, await self.builds.do(lambda: self._known(build, environment)))

    def _known(self, build: Build, environment: str) -> Known:
        repository = self.builds.cluster.fleet.repository.get(build.repository)
        others = self.builds.queue.newest(build.repository, LOOKED_AT)
        return Known(repository, others, self.orders(environment, build.app), self.clock())

    async def _order(self, build: Build, environment: str, hear: Hear) -> Standing:
        what = ("deploy", build.app, build.version, "-e", environment)
        order = (*what, "--yes", "--no-wait", "--reason", reason_of(build))
        await hear(f"$ clarion {' '.join(order)}\n".encode())
        try:
            outcome = await self.clarion.run(order, hear)
        finally:
            waited = self.clock() - (build.finished_at or self.clock())
            self._next_try[build.id] = time.monotonic() + pause_after(waited)
        orders = await self.builds.do(lambda: self.orders(environment, build.app))
        # Also by a child that was killed a moment after it had ordered it.
        return Standing(deployed_to=environment) if is_ordered(build, orders) else verdict(environment, outcome)
