"""Reports of nights: kept whole, pruned, and asked since when something is broken."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.nightly.history import (
    MAX_LOG,
    Reports,
    bounded,
    last_that_worked,
    merged,
    since,
)
from clarion_controller.nightly.report import Check, Report, Result
from clarion_protocol.errors import BadConfig, NoSpace, UnknownName

WORKS, BROKEN, SKIPPED = Result.WORKS, Result.BROKEN, Result.SKIPPED
DAY = 86_400.0


def a_check(result: Result, name: str = "rebuild shop", begun: str = "", reason: str = "") -> Check:
    """Return a check."""
    return Check(name=name, result=result, since=begun, reason=reason)


def a_report(night: str, *checks: Check, failure: str = "") -> Report:
    """Return the report of a night."""
    return Report(night=night, began=0.0, ended=60.0, checks=checks, failure=failure)


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    """Give the reports of a home that has none yet."""
    found = Reports(tmp_path)
    found.make_folder()
    return found


NIGHTS = {
    "the first night of all": ("b", "20"),
    "works": ("w", ""),
    "skipped": ("bs", ""),
    "broken after it worked": ("wb", "21"),
    "broken in a row": ("wbb", "21"),
    "a longer row": ("bbbb", "20"),
    "repaired and broken again": ("bwb", "22"),
    "a night that skipped it in between does not repair it": ("bsb", "20"),
    "nor does a night that had no such check": ("b.b", "20"),
    "nor does a row of both": ("b.s.b", "20"),
    "a skipped night does not begin a row": ("sb", "21"),
    "nor does one before it worked": ("sswsb", "24"),
}


@pytest.mark.parametrize(("nights", "wanted"), NIGHTS.values(), ids=NIGHTS)
def test_a_row_of_broken_nights_begins_with_its_first(nights: str, wanted: str) -> None:
    """Nights from 20 November on: b(roken), w(orks), s(kipped), or . without the check."""
    kinds = {"b": BROKEN, "w": WORKS, "s": SKIPPED}
    earlier: list[Report] = []
    for day, kind in enumerate(nights, start=20):
        checks = since([a_check(kinds[kind])] if kind in kinds else [], earlier, f"2026-11-{day}")
        earlier.insert(0, a_report(f"2026-11-{day}", *checks))
    assert [check.since for check in earlier[0].checks] == ([f"2026-11-{wanted}"] if wanted else [""])


@given(st.lists(st.sampled_from([WORKS, BROKEN, SKIPPED, None]), min_size=1, max_size=28))
def test_the_night_is_that_of_a_plain_reading_of_all_nights(results: list[Result | None]) -> None:
    """Whatever the history: the first broken night after the last that worked."""
    earlier: list[Report] = []
    for day, result in enumerate(results, start=1):
        night = f"2026-11-{day:02}"
        earlier.insert(0, a_report(night, *since([a_check(result)] if result else [], earlier, night)))
    if results[-1] is BROKEN:
        last_good = max((day for day, result in enumerate(results, start=1) if result is WORKS), default=0)
        begun = next(day for day, result in enumerate(results, start=1) if day > last_good and result is BROKEN)
        assert earlier[0].checks[0].since == f"2026-11-{begun:02}"
    else:
        assert all(check.since == "" for check in earlier[0].checks)


def test_reports_from_after_the_night_do_not_count() -> None:
    """A clock that was ahead left them: what they say is of no night before this one."""
    future = a_report("2027-01-01", a_check(BROKEN, begun="2026-12-31"))
    past = a_report("2026-11-20", a_check(BROKEN, begun="2026-11-18"))
    (check,) = since([a_check(BROKEN)], [future, past], "2026-11-21")
    assert check.since == "2026-11-18"


def test_a_second_run_of_a_night_keeps_since_when(reports: Reports) -> None:
    """Also where the first run of that night was the first of the row."""
    first = a_report("2026-11-21", a_check(BROKEN, begun="2026-11-19"))
    (check,) = since([a_check(BROKEN)], [first], "2026-11-21")
    assert check.since == "2026-11-19"


def test_a_second_run_keeps_what_it_did_not_come_to() -> None:
    """What it checked replaces the first; what it skipped, or was not asked for, stays as it was."""
    first = a_report("2026-11-21", a_check(BROKEN), a_check(WORKS, "a"), a_check(SKIPPED, "b", reason="first"))
    second = a_report("2026-11-21", a_check(WORKS), a_check(SKIPPED, "a"), a_check(SKIPPED, "b", reason="second"))
    whole = {check.name: (check.result, check.reason) for check in merged(second, first).checks}
    assert whole == {"rebuild shop": (WORKS, ""), "a": (WORKS, ""), "b": (SKIPPED, "second")}
    assert merged(second, None) == second


def test_a_report_is_read_as_it_was_written(reports: Reports) -> None:
    """With everything in it; the newest is the last."""
    check = Check(name="rebuild shop", result=BROKEN, log="é\n", parts={"build": 1.5}, dependencies={"1": {"a": "2"}})
    for night in ("2026-11-21", "2026-11-20"):
        reports.write(a_report(night, check))
    assert reports.last() == reports.read("2026-11-21") == a_report("2026-11-21", check)
    assert [report.night for report in reports.readable()] == ["2026-11-21", "2026-11-20"]


DAMAGE = {
    "cut off": b'{"night": "2026-11-',
    "empty": b"",
    "another program's": b"[1, 2]",
    "no text": b"\xff\xfe\x00",
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_report_costs_only_what_it_said(reports: Reports, content: bytes) -> None:
    """The others are read, and whoever asks for it is told what to do."""
    reports.write(a_report("2026-11-20"))
    (reports.folder / "2026-11-21.json").write_bytes(content)
    (reports.folder / "notes.json").write_text("mine")
    assert [report.night for report in reports.readable()] == ["2026-11-20"]
    with pytest.raises(BadConfig, match="Remove it"):
        reports.last()


def test_what_is_no_file_is_not_read(reports: Reports) -> None:
    """Whoever owns the home makes root neither wait nor read elsewhere."""
    os.mkfifo(reports.folder / "2026-11-20.json")
    reports.write(a_report("2026-11-19"))
    (reports.folder / "2026-11-21.json").symlink_to("2026-11-19.json")
    assert [report.night for report in reports.readable()] == ["2026-11-19"]


@pytest.mark.parametrize("night", ["2026-11-19", "../../secret", ""])
def test_a_night_without_a_report_is_said_to_be_unknown(reports: Reports, night: str) -> None:
    """And nothing but the report of a night is ever opened."""
    with pytest.raises(UnknownName):
        reports.read(night)
    with pytest.raises(UnknownName, match="no night yet"):
        reports.last()


def test_old_reports_are_removed(reports: Reports) -> None:
    """By the date of their night."""
    for night in ("1970-01-01", "1970-01-02", "1970-01-03"):
        reports.write(a_report(night))
    reports.prune(before=1 * DAY)
    assert reports.nights() == ["1970-01-03", "1970-01-02"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_leaves_the_earlier_report(reports: Reports) -> None:
    """It is replaced in one step or not at all."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(reports.folder)]
    subprocess.run(mount, check=True, timeout=10)
    try:
        reports.write(a_report("2026-11-21"))
        with pytest.raises(NoSpace):
            reports.write(a_report("2026-11-21", Check(name="x", result=BROKEN, log="x" * 200_000)))
        assert reports.last() == a_report("2026-11-21")
        assert [path.name for path in reports.folder.iterdir()] == ["2026-11-21.json"]
    finally:
        subprocess.run(["umount", str(reports.folder)], check=True, timeout=10)


def test_a_check_is_kept_with_the_end_of_its_log() -> None:
    """However much a build or a server said."""
    check = bounded(Check(name="x", result=BROKEN, reason="r" * 900, log="a" * 50_000 + "end", findings=("f",) * 400))
    assert (len(check.log), check.log[-3:], len(check.findings), len(check.reason)) == (MAX_LOG, "end", 50, 500)


def test_the_last_night_that_worked_is_the_newest_of_them() -> None:
    """Whatever was skipped or broken since."""
    earlier = [
        a_report("2026-11-22", a_check(BROKEN)),
        a_report("2026-11-21", a_check(SKIPPED)),
        a_report("2026-11-20", a_check(WORKS, reason="newer")),
        a_report("2026-11-19", a_check(WORKS)),
    ]
    assert last_that_worked("rebuild shop", earlier) == ("2026-11-20", a_check(WORKS, reason="newer"))
    assert last_that_worked("rebuild blog", earlier) is None
