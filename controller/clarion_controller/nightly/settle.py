"""What comes of a night, however it ended: since when, the report on the disk, and the controller that is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from clarion_controller.nightly.evening import Evening
from clarion_controller.nightly.history import merged
from clarion_controller.nightly.report import Check, Report
from clarion_protocol.errors import ClarionError


@dataclass(frozen=True)
class Ended:
    """How a night ended: its report, and what else went wrong, in sentences."""

    report: Report
    troubles: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether everything works, and everybody knows."""
        return self.report.is_good and not self.troubles


def settle(evening: Evening, report: Report, earlier: Sequence[Report]) -> Iterator[str]:
    """Write the report and tell of it; yield what goes wrong: one must not keep the other from being done."""
    before = next((each for each in earlier if each.night == report.night), None)
    whole = merged(report, before)
    try:
        evening.reports.write(whole)
        evening.reports.prune(evening.began - evening.fleet.nightly.keep)
    except ClarionError as error:
        yield f"the report cannot be kept: {error}"
    try:
        evening.controller.nightly_finished(brief(whole))
    except ClarionError as error:
        yield f"the controller could not be told, so it tells nobody: {error}"


def brief(report: Report) -> Report:
    """Return a report without what only its readers need: the controller records what is broken, and since when."""
    checks = [
        Check(
            name=check.name,
            environment=check.environment,
            result=check.result,
            reason=check.reason,
            since=check.since,
            seconds=check.seconds,
        )
        for check in report.checks
    ]
    return msgspec.structs.replace(report, checks=tuple(checks))
