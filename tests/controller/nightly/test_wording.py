"""A report reads well in a terminal and in a mail: plain text that fits, whatever a build or a server has said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.nightly.wording import LOG_LINES, WIDTH, history_lines, text_of

BROKEN = Check(
    name="rebuild shop",
    result=Result.BROKEN,
    reason='greeting 1.0 -> 1.1: the package test: "python3 check.py" failed with exit code 1',
    since="2026-11-21",
    findings=("moved since the night of 2026-11-20: greeting 1.0 -> 1.1",),
    log="one\ntwo\x1b[31m",
)
WORKS = Check(name="rebuild blog", result=Result.WORKS, reason="differs in 9 files", findings=("added: x",) * 9)
SKIPPED = Check(name="server staging/web", result=Result.SKIPPED, reason="not reached: the deadline was reached")
REPORT = Report(
    night="2026-11-22", began=0.0, ended=750.0, checks=(WORKS, SKIPPED, BROKEN), failure="the deadline was reached"
)

TEXT = """\
Night of 2026-11-22: 1 broken, 1 works, 1 skipped, in 12 min; it ended early: the deadline was
reached

broken   rebuild shop        greeting 1.0 -> 1.1: the package test: "python3 check.py" failed with
                             exit code 1 (since 2026-11-21)
skipped  server staging/web  not reached: the deadline was reached
works    rebuild blog        differs in 9 files
                             - added: x
                             - added: x
                             - added: x
                             - added: x
                             - added: x
                             - and 4 more: 'clarion nightly report --json'

--- rebuild shop, broken since 2026-11-21 ----------------------------------------------------------
greeting 1.0 -> 1.1: the package test: "python3 check.py" failed with exit code 1
  - moved since the night of 2026-11-20: greeting 1.0 -> 1.1
The log:
  | one
  | two\N{REPLACEMENT CHARACTER}[31m"""


def test_what_is_broken_comes_first_and_at_length() -> None:
    """Then what was skipped, then what works with some of its findings."""
    assert text_of(REPORT) == TEXT


def test_a_night_without_checks_says_why() -> None:
    """Nobody said what is in force."""
    report = Report(night="2026-11-22", began=0.0, ended=1.0, failure="no controller answers\n  Start it.")
    assert text_of(report) == (
        "Night of 2026-11-22: nothing was checked, in 1 s; it ended early: no controller answers Start it."
    )


def test_only_the_end_of_a_log_is_shown() -> None:
    """With how much of it is not."""
    log = "\n".join(f"line {number}" for number in range(100))
    lines = text_of(Report(night="x", began=0, ended=0, checks=(Check(name="x", result=Result.BROKEN, log=log),)))
    assert "The log ends (60 lines before this are in the report):" in lines
    assert lines.count("  | ") == LOG_LINES
    assert lines.endswith("  | line 99")


NASTY = st.text(alphabet=st.characters(codec="utf-8"), max_size=300)


@given(NASTY, NASTY, NASTY)
def test_nothing_that_was_said_steers_the_terminal_or_breaks_the_lines(name: str, reason: str, log: str) -> None:
    """Except for words and log lines longer than a line, every line fits; no control character is left."""
    check = Check(name=name[:32], result=Result.BROKEN, reason=reason, since=name[:16], findings=(reason,), log=log)
    report = Report(night=name[:16], began=0.0, ended=1.0, checks=(check,))
    text = text_of(report)
    assert all(letter.isprintable() or letter in "\n\t" for letter in text)
    assert all(line.isprintable() for line in history_lines(report, WIDTH))
    assert all(len(line) <= WIDTH for line in text.splitlines() if not line.startswith(("  | ", "---")))


def test_history_has_a_line_for_each_night() -> None:
    """What was broken, or how many checks worked."""
    good = Report(night="2026-11-20", began=0.0, ended=1.0, checks=(WORKS,))
    assert history_lines(REPORT, 50) == [
        "2026-11-22  broken  broken: rebuild shop; the",
        "                    deadline was reached",
    ]
    assert history_lines(good, 50) == ["2026-11-20  good    1 check worked"]


def test_a_report_fits_a_narrow_terminal() -> None:
    """No line of it is broken by the terminal, which would put half a sentence below a name."""
    assert all(len(line) <= 60 for line in text_of(REPORT, 60).splitlines())
