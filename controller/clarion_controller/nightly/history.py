"""The reports of earlier nights: one file a night in `<home>/state/nightly`, and what is known from them.

A file is there whole or not at all. Root touches them with the rights of the home's owner, to whom they belong: no link
that lies there leads any further. One that cannot be read, whatever was done to it, costs only what it said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_controller.as_owner import as_owner_of
from clarion_controller.durable_files import disk_trouble, make_folder, write_file
from clarion_controller.fleet_toml.fleet import unknown
from clarion_controller.nightly.night import date_of
from clarion_controller.nightly.report import Check, Report, Result
from clarion_protocol.errors import BadConfig, UnknownName

MAX_REPORT_BYTES = 64 * 2**20
MAX_LOG = 16 * 1024
MAX_FINDINGS = 50
_NIGHT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@dataclass(frozen=True)
class Reports:
    """The reports of the nights of the cluster in `home`."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.home / "state" / "nightly"

    def make_folder(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            HostError, NoSpace: the disk does not take it.
        """
        with disk_trouble(self.home), as_owner_of(self.home):
            make_folder(self.home / "state", 0o700)
            make_folder(self.folder, 0o750)

    def write(self, report: Report) -> None:
        """Keep a night's report, in place of an earlier one of the same night.

        Raises:
            HostError, NoSpace: the disk does not take it; the earlier one is still there.
        """
        content = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
        with disk_trouble(self.folder), as_owner_of(self.home):
            write_file(self._file(report.night), [content], mode=0o640)

    def nights(self) -> list[str]:
        """Return of which nights there are reports, newest first."""
        try:
            # Not glob(), which finds nothing where it may not look.
            found = [path.stem for path in self.folder.iterdir() if path.suffix == ".json"]
        except FileNotFoundError:
            return []
        return sorted((name for name in found if _NIGHT.match(name)), reverse=True)

    def read(self, night: str) -> Report:
        """Return the report of a night.

        Raises:
            UnknownName: there is none.
            BadConfig: it cannot be read.
        """
        if night not in self.nights():
            raise unknown("night", night, self.nights(), hint="Run 'clarion nightly history' to see them.")
        path = self._file(night)
        try:
            with as_owner_of(self.home):  # who may have put a link or a pipe there
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                return msgspec.json.decode(file.read(MAX_REPORT_BYTES), type=Report)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadConfig(f"{path} cannot be read: {error}", hint="Remove it; the next night writes anew.") from error

    def last(self) -> Report:
        """Return the newest report.

        Raises:
            UnknownName: there is none yet.
            BadConfig: it cannot be read.
        """
        nights = self.nights()
        if not nights:
            raise UnknownName("there was no night yet", hint="Run 'clarion nightly' now, or wait for its timer.")
        return self.read(nights[0])

    def readable(self) -> Iterator[Report]:
        """Yield every report that can be read, newest first."""
        for night in self.nights():
            with suppress(BadConfig, UnknownName):  # gone meanwhile, or damaged: the others still count
                yield self.read(night)

    def prune(self, before: float) -> None:
        """Remove the reports of nights that began before a time in UTC seconds.

        Raises:
            HostError: the disk does not let them go.
        """
        with disk_trouble(self.folder), as_owner_of(self.home):
            for night in self.nights():
                if night < date_of(before):
                    self._file(night).unlink(missing_ok=True)

    def _file(self, night: str) -> Path:
        return self.folder / f"{night}.json"


def since(checks: Sequence[Check], earlier: Sequence[Report], night: str) -> tuple[Check, ...]:
    """Return the checks with the night since which each is broken; `earlier` reports are given newest first.

    A night that skipped a check, or had none of its name, neither repairs it nor begins a row. Reports from after
    `night` are of a clock that was wrong, and do not count.
    """
    known = _newest([report for report in earlier if report.night <= night])

    def dated(check: Check) -> Check:
        if check.result is not Result.BROKEN:
            return msgspec.structs.replace(check, since="")
        before = known.get(check.name)
        begun = before[1].since or before[0] if before and before[1].result is Result.BROKEN else night
        return msgspec.structs.replace(check, since=begun)

    return tuple(map(dated, checks))


def last_that_worked(name: str, earlier: Sequence[Report]) -> tuple[str, Check] | None:
    """Return the newest check of that name that worked, and its night; `earlier` reports are given newest first."""
    found = ((report.night, check) for report in earlier for check in report.checks)
    return next((each for each in found if each[1].name == name and each[1].result is Result.WORKS), None)


def merged(report: Report, before: Report | None) -> Report:
    """Return a night's report with what an earlier run of the same night found and this one did not come to."""
    if before is None or before.night != report.night:
        return report
    done = {check.name for check in report.checks if check.result is not Result.SKIPPED}
    kept = {check.name: check for check in before.checks if check.name not in done}
    # What was skipped only now had a result before; what was skipped both times keeps the newer reason.
    kept = {name: check for name, check in kept.items() if check.result is not Result.SKIPPED}
    fresh = [check for check in report.checks if check.name not in kept]
    return msgspec.structs.replace(report, checks=(*fresh, *kept.values()))


def bounded(check: Check) -> Check:
    """Return a check that is small enough to keep: the end of its log, the first of its findings."""
    findings = check.findings[:MAX_FINDINGS]
    return msgspec.structs.replace(check, log=check.log[-MAX_LOG:], findings=findings, reason=check.reason[:500])


def _newest(reports: Sequence[Report]) -> Mapping[str, tuple[str, Check]]:
    """Return for each name the newest night with a result, and the check."""
    found: dict[str, tuple[str, Check]] = {}
    for report in reports:
        for check in report.checks:
            if check.result is not Result.SKIPPED:
                found.setdefault(check.name, (report.night, check))
    return found
