"""`clarion nightly`: whether today, from nothing, everything that is in force could be had once more.

 1. lock       one night at a time; the second says who runs                        lock.py
 2. sweep      take away what a night that died has left                            sweep.py
 3. ask        production's controller what is in force; nothing else is asked      evening.py
 4. rebuild    every app from its source, with today's upstream, and compare        rebuild.py
 5. rehearse   every environment on fresh servers, with checks between them         rehearse.py
 6. tidy       take everything of tonight away, and sweep wherever a server may be  work_folder.py, sweep.py
 7. since      look up since which night each is broken                             history.py
 8. write      the report, before anybody is told of it                             settle.py
 9. tell       the controller, which tells people                                   settle.py

Steps 4 and 5 are rows of checks. One that fails by an exception is a broken check with its log. The deadline or a
signal ends the row with what is known then, and steps 6 to 9 follow in any case.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from clarion_controller.nightly.ending import NightOver, interruptible, uninterrupted
from clarion_controller.nightly.evening import Evening, ask
from clarion_controller.nightly.history import bounded, since
from clarion_controller.nightly.lock import only_one_night
from clarion_controller.nightly.night import date_of
from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.nightly.row import Step, steps
from clarion_controller.nightly.settle import Ended, settle
from clarion_controller.nightly.sweep import NAME as SWEEP
from clarion_controller.nightly.sweep import Sweeping
from clarion_controller.nightly.work_folder import work_folder
from clarion_protocol.errors import ClarionError


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
    sweeping = Sweeping(evening)
    sweep = Step((SWEEP,), "", lambda: [sweeping.sweep()])
    checks = list(sweep.run())
    with work_folder(evening.cluster) as work:
        failure = _walk(evening, work, earlier, checks)
    if failure or work.exists() or sweeping.is_needed_again():  # as a step was interrupted, or could not take it away
        checks[:1] = sweep.run()
    night = date_of(evening.began)
    checks = list(since([bounded(check) for check in checks], earlier, night))
    ended = evening.began + time.monotonic() - clock
    report = Report(night=night, began=evening.began, ended=ended, checks=tuple(checks), failure=failure)
    return Ended(report, tuple(settle(evening, report, earlier)))


def _walk(evening: Evening, work: Path, earlier: Sequence[Report], checks: list[Check]) -> str:
    """Go through the row, add to `checks`, and return why it ended before its end; "" if it did not."""
    row: list[Step] = []
    try:
        with interruptible(evening.fleet.nightly.deadline):
            night = ask(evening, work)
            row += steps(night, evening.wishes, earlier)
            while row:
                checks += row[0].run()
                row.pop(0)
    except NightOver as over:
        for step in row:
            checks += step.checks(Result.SKIPPED, f"not reached: {over.reason}")
        return over.reason
    except ClarionError as error:  # nobody says what is in force
        return error.sentences
    except Exception as error:  # noqa: BLE001 (whatever it was, there is a report that says so)
        return f"Clarion itself failed: {error!r}"
    return ""
