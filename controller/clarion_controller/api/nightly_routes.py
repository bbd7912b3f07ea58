"""The routes about nights: how one ended, and the reports that are kept."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from clarion_controller.api.desk import TheDesk
from clarion_controller.nightly.history import Reports
from clarion_controller.nightly.report import Report, Result
from clarion_controller.state.events import NightlyFinished
from clarion_controller.state.log import Batch

MAX_NIGHTS = 100
WHOLE = "the night"  # as if it were a check of its own

Nights = Annotated[int, QueryParameter(ge=1, le=MAX_NIGHTS)]


@post("/v1/nightly", status_code=204)
async def nightly_finished(desk: TheDesk, data: JSONBody[Report]) -> None:
    """Record how a night ended, for those who tell people."""
    desk.log.record(Batch([(None, event_of(data, time.time()))]))


@get("/v1/nightly")
async def nights(desk: TheDesk, limit: Nights = 1) -> list[Report]:
    """List the reports that are kept, newest first."""
    reports = Reports(desk.cluster.home)
    return await asyncio.to_thread(lambda: list(islice(reports.readable(), limit)))


def event_of(report: Report, now: float) -> NightlyFinished:
    """Return what is recorded of a night; one that ended before its end is broken as a whole."""
    broken = {check.name: check for check in report.checks if check.result is Result.BROKEN}
    working = [check.name for check in report.checks if check.result is Result.WORKS]
    results = [check.result for check in report.checks]
    whole = {WHOLE: report.failure} if report.failure else {}
    return NightlyFinished(
        at=now,
        night=report.night,
        broken={**{name: check.reason for name, check in broken.items()}, **whole},
        since={name: check.since for name, check in broken.items()},
        works=results.count(Result.WORKS),
        skipped=results.count(Result.SKIPPED),
        working=working if report.failure else [*working, WHOLE],
    )


NIGHTLY = [nightly_finished, nights]
