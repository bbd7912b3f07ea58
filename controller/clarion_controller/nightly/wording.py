"""A report as people read it: in a terminal, a journal, or a mail from cron. Plain text, 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from clarion_controller.cli.show import count, one_line, printable
from clarion_controller.nightly.report import Check, Report, Result

WIDTH = 100
NAME_WIDTH = 32
LOG_LINES = 40
FINDINGS = 5  # shown of a check that works; of a broken one, all
_ORDER = [Result.BROKEN, Result.SKIPPED, Result.WORKS]


def text_of(report: Report) -> str:
    """Return the whole report: what is broken comes first, and is told at length below."""
    checks = sorted(report.checks, key=lambda check: _ORDER.index(check.result))
    broken = [check for check in checks if check.result is Result.BROKEN]
    parts = ["\n".join(_wrapped(headline(report)))]
    if checks:
        width = min(max(len(check.name) for check in checks), NAME_WIDTH)
        parts.append("\n".join(line for check in checks for line in _summary(check, width)))
    parts += ["\n".join(_at_length(check)) for check in broken]
    return "\n\n".join(parts)


def headline(report: Report) -> str:
    """Return how a night went, in a line."""
    results = [check.result for check in report.checks]
    work = "works" if results.count(Result.WORKS) == 1 else "work"
    counted = ", ".join(
        f"{results.count(result)} {word}"
        for result, word in ((Result.BROKEN, "broken"), (Result.WORKS, work), (Result.SKIPPED, "skipped"))
        if result in results
    )
    ended = f"; it ended before its end: {one_line(report.failure)}" if report.failure else ""
    spent = _time(report.ended - report.began)
    return f"Night of {one_line(report.night)}: {counted or 'nothing was checked'}, in {spent}{ended}"


def history_line(report: Report) -> list[str]:
    """Return a night as a row: its date, what was broken or how many worked."""
    broken = [one_line(check.name) for check in report.checks if check.result is Result.BROKEN]
    works = sum(check.result is Result.WORKS for check in report.checks)
    words = [f"broken: {', '.join(broken)}"] if broken else [f"{count(works, 'check')} worked"]
    words += [one_line(report.failure)] if report.failure else []
    return [one_line(report.night), "good" if report.is_good else "broken", "; ".join(words)]


def _summary(check: Check, width: int) -> Iterator[str]:
    since = f" (since {one_line(check.since)})" if check.since else ""
    lead = f"{check.result.value:7}  {one_line(check.name):{width}}  "
    yield from _wrapped(one_line(check.reason) + since, lead)
    if check.result is not Result.BROKEN:
        yield from _findings(check, FINDINGS, " " * len(lead))


def _at_length(check: Check) -> Iterator[str]:
    title = f"{one_line(check.name)}, broken since {one_line(check.since) or 'this night'}"
    yield f"--- {title} {'-' * max(WIDTH - len(title) - 5, 0)}"
    yield from _wrapped(one_line(check.reason))
    yield from _findings(check, len(check.findings), "  ")
    lines = [printable(line) for line in check.log.splitlines()]
    if len(lines) > LOG_LINES:
        yield f"The log ends ({count(len(lines) - LOG_LINES, 'line')} before this are in the report):"
    elif lines:
        yield "The log:"
    yield from (f"  | {line}" for line in lines[-LOG_LINES:])


def _findings(check: Check, most: int, indent: str) -> Iterator[str]:
    for finding in check.findings[:most]:
        yield from _wrapped(one_line(finding), f"{indent}- ")
    if len(check.findings) > most:
        yield f"{indent}- and {len(check.findings) - most} more: 'clarion nightly report --json'"


def _wrapped(text: str, lead: str = "") -> list[str]:
    """Return a sentence in lines that fit, the later ones below where the first begins."""
    below = " " * len(lead)
    lines = textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=below, break_on_hyphens=False)
    return lines or [lead.rstrip()]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
