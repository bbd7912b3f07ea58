"""`clarion nightly`: whether today, from nothing, everything that is in force could be had once more.

 1. lock       one night at a time; the second says who runs
 2. sweep      take away what a night that died has left
 3. ask        the production controller what is in force; it is never asked for anything else
 4. rebuild    every app from its source, with today's upstream packages, and compare
 5. rehearse   every environment on fresh servers, with checks between them
 6. since      look up since which night each is broken
 7. write      the report, before anybody is told of it
 8. tell       the controller, which tells people
 9. tidy       take everything of tonight away

Steps 4 and 5 are rows of checks. One that fails by an exception is a broken check with its log. The deadline or a
signal ends the row with what is known then, and steps 6 to 9 follow in any case.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from clarion_controller.cli.client import Controller
from clarion_controller.fleet import FILE_NAME, Fleet, load_fleet
from clarion_controller.initialise import cluster_id
from clarion_controller.integration import APP as INTEGRATION
from clarion_controller.nightly.ending import NightOver, interruptible, uninterrupted
from clarion_controller.nightly.history import Reports, bounded, merged, since
from clarion_controller.nightly.lock import only_one_night
from clarion_controller.nightly.night import InForce, Night, date_of
from clarion_controller.nightly.rebuild import rebuild
from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.nightly.work_folder import sweep_folders, work_folder
from clarion_protocol.errors import ClarionError
from clarion_protocol.words import new_id


@dataclass(frozen=True)
class Wishes:
    """What of a night is wanted; no `environments` are all of them."""

    environments: tuple[str, ...] = ()
    rebuild: bool = True
    servers: bool = True


@dataclass(frozen=True)
class Ended:
    """How a night ended: its report, and what else went wrong, in sentences."""

    report: Report
    troubles: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether everything works, and everybody knows."""
        return self.report.is_good and not self.troubles


@dataclass(frozen=True)
class Evening:
    """What is known before a night begins; `log` takes lines that say what is done now."""

    home: Path
    fleet: Fleet
    controller: Controller
    cluster: str
    wishes: Wishes
    log: Callable[[str], None]
    began: float

    @classmethod
    def at(cls, home: Path, controller: Controller, wishes: Wishes, log: Callable[[str], None]) -> Evening:
        """Return what is known of the cluster in `home`.

        Raises:
            NoCluster, BadConfig: there is none, or its fleet.toml does not fit.
            UnknownName: there is no such environment.
        """
        cluster, fleet = cluster_id(home), load_fleet(home / FILE_NAME)
        for environment in wishes.environments:
            fleet.in_environment(environment)
        return cls(home, fleet, controller, cluster, wishes, log, time.time())

    @property
    def reports(self) -> Reports:
        """The reports of earlier nights."""
        return Reports(self.home)


@dataclass(frozen=True)
class Step:
    """One step of the row: the checks that it makes, if it comes to its end; where; and what makes them."""

    names: tuple[str, ...]
    environment: str
    run: Callable[[], Sequence[Check]]

    def checks(self, result: Result, reason: str, log: str = "") -> list[Check]:
        """Return all its checks with one result."""
        return [
            Check(name=name, environment=self.environment, result=result, reason=reason, log=log) for name in self.names
        ]


def run_night(evening: Evening) -> Ended:
    """Run a night to its end.

    Raises:
        Blocked: another run is under way.
        HostError, NoSpace: this disk does not take even the lock.
    """
    evening.reports.make_folder()
    with uninterrupted(), only_one_night(evening.reports.folder):
        return _night(evening)


def _night(evening: Evening) -> Ended:
    clock, earlier = time.monotonic(), list(evening.reports.readable())
    checks = [_swept(evening)]
    with work_folder(evening.cluster) as work:
        failure = _walk(evening, work, earlier, checks)
    if failure:
        _swept(evening)  # what a step made just as it was interrupted
    night = date_of(evening.began)
    checks = list(since([bounded(check) for check in checks], earlier, night))
    ended = evening.began + time.monotonic() - clock
    report = Report(night=night, began=evening.began, ended=ended, checks=tuple(checks), failure=failure)
    return Ended(report, tuple(_settled(evening, report, earlier)))


def _walk(evening: Evening, work: Path, earlier: Sequence[Report], checks: list[Check]) -> str:
    """Go through the row, add to `checks`, and return why it ended before its end; "" if it did not."""
    row: list[Step] = []
    try:
        with interruptible(evening.fleet.nightly.deadline):
            night = ask(evening, work)
            row += steps(night, evening.wishes, earlier)
            while row:
                checks += _results(row[0])
                row.pop(0)
    except NightOver as over:
        for step in row:
            checks += step.checks(Result.SKIPPED, f"not reached: {over.reason}")
        return over.reason
    except ClarionError as error:  # nobody says what is in force
        return str(error)
    return ""


def ask(evening: Evening, work: Path) -> Night:
    """Ask what is in force.

    Raises:
        ControllerUnreachable: the controller does not answer.
    """
    began = time.monotonic()
    streams = evening.controller.status()
    return Night(
        home=evening.home,
        fleet=evening.fleet,
        controller=evening.controller,
        cluster=evening.cluster,
        run=new_id(),
        began=evening.began,
        deadline=began + evening.fleet.nightly.deadline,
        work=work,
        in_force=tuple(
            InForce(stream.environment, stream.app, stream.wanted)
            for stream in streams
            if stream.wanted and stream.app != INTEGRATION
        ),
        log=evening.log,
    )


def steps(night: Night, wishes: Wishes, earlier: Sequence[Report]) -> Iterator[Step]:
    """Yield the row of checks that are wanted: every app, then every environment."""
    wanted = wishes.environments or tuple(night.fleet.environment)
    apps = {each.app for each in night.in_force if each.environment in wanted}
    for app in sorted(apps) if wishes.rebuild else ():
        yield Step((f"rebuild {app}",), "", partial(_rebuilt, night, app, earlier))
    for name in wanted if wishes.servers else ():
        roles = [f"server {name}/{role}" for role in night.fleet.environment[name].roles]
        yield Step(tuple(roles) or (f"servers {name}",), name, partial(_rehearsed, night, name))


def _rebuilt(night: Night, app: str, earlier: Sequence[Report]) -> Sequence[Check]:
    return [rebuild(night, app, earlier)]


def _rehearsed(night: Night, environment: str) -> Sequence[Check]:
    from clarion_controller.nightly.rehearse import rehearse  # noqa: PLC0415 (half a controller; rebuilds need none)

    return rehearse(night, environment)


def _results(step: Step) -> Sequence[Check]:
    """Return the checks of a step; one that fails by an exception is broken as a whole."""
    try:
        return step.run()
    except ClarionError as error:
        return step.checks(Result.BROKEN, error.message, error.hint or "")
    except Exception as error:  # noqa: BLE001 (one step of many: the others still tell what works)
        return step.checks(Result.BROKEN, f"Clarion itself failed: {error!r}", traceback.format_exc())


def _swept(evening: Evening) -> Check:
    """Take away what a night that died has left; what stays is paid for, so people have to know."""
    began = time.monotonic()
    gone = sweep_folders(evening.cluster)
    for each in gone:
        evening.log(f"taken away, left by a night that died: {each}")
    reason = f"took away what a night that died had left ({len(gone)})" if gone else "nothing was left"
    seconds = time.monotonic() - began
    return Check(name="sweep", result=Result.WORKS, reason=reason, findings=tuple(gone), seconds=seconds)


def _settled(evening: Evening, report: Report, earlier: Sequence[Report]) -> Iterator[str]:
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
