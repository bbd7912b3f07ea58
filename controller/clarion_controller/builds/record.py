"""What the record of the controller hears of builds: that each began, and how it ended.

The queue keeps how much the record knows, so what a crash came between is told afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from clarion_controller.builds.build import Build
from clarion_controller.builds.build_queue import FINISHED, STARTED, BuildQueue
from clarion_controller.state.events import AnyEvent, BuildFinished, BuildStarted
from clarion_controller.state.log import Batch, StateLog


def tell(queue: BuildQueue, log: StateLog) -> None:
    """Record what of builds is not in the record yet."""
    untold = queue.untold()
    if untold:
        log.record(Batch(events=[(None, event) for build, told in untold for event in news(build, told)]))
        queue.set_told({build.id: FINISHED if build.status.is_final else STARTED for build, _ in untold})


def news(build: Build, told: int) -> Iterator[AnyEvent]:
    """Yield what happened to a build, of which the record knows as much as `told` says."""
    what = {name: getattr(build, name) for name in ("repository", "app", "ref", "commit")}
    if told < STARTED:
        yield BuildStarted(at=build.started_at or build.queued_at, build=build.id, **what)
    if told < FINISHED and build.status.is_final:
        yield BuildFinished(
            at=build.finished_at or time.time(),
            build=build.id,
            **what,
            status=build.status.value,
            reason=build.reason,
            version=build.version,
        )
