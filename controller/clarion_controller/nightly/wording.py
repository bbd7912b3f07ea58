"""A report as people read it: in a terminal, a journal, or a mail from cron. Plain text, 100 columns at most."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.texts import count, one_line, printable

WIDTH = 100
NAME_WIDTH = 32
LOG_LINES = 40
FINDINGS = 5  # shown of a check that works; of a broken one, all
_ORDER = [Result.BROKEN, Result.SKIPPED, Result.WORKS]


def text_of(report: Report, width: int = WIDTH) -> str:
    """Return the whole report, `width` columns wide: what is broken comes first, and is told at length below."""
    checks = sorted(report.checks, key=lambda check: _ORDER.index(check.result))
    broken = [check for check in checks if check.result is Result.BROKEN]
    page = _Page(width, names=min(max((len(check.name) for check in checks), default=0), NAME_WIDTH))
    parts = [page.wrapped(headline(report))]
    parts += [[line for check in checks for line in page.summary(check)]] if checks else []
    parts += [list(page.at_length(check)) for check in broken]
    return "\n\n".join("\n".join(part) for part in parts)


def headline(report: Report) -> str:
    """Return how a night went, in a line."""
    results = [check.result for check in report.checks]
    work = "works" if results.count(Result.WORKS) == 1 else "work"
    counted = ", ".join(
        f"{results.count(result)} {word}"
        for result, word in ((Result.BROKEN, "broken"), (Result.WORKS, work), (Result.SKIPPED, "skipped"))
        if result in results
    )
    ended = f"; it ended early: {one_line(report.failure)}" if report.failure else ""
    spent = _time(report.ended - report.began)
    return f"Night of {one_line(report.night)}: {counted or 'nothing was checked'}, in {spent}{ended}"


def history_lines(report: Report, width: int) -> list[str]:
    """Return a night in lines `width` wide: its date, what was broken or how many worked."""
    broken = [one_line(check.name) for check in report.checks if check.result is Result.BROKEN]
    works = sum(check.result is Result.WORKS for check in report.checks)
    words = [f"broken: {', '.join(broken)}"] if broken else [f"{count(works, 'check')} worked"]
    words += [one_line(report.failure)] if report.failure else []
    verdict = "good" if report.is_good else "broken"
    return _Page(width).wrapped("; ".join(words), f"{one_line(report.night)}  {verdict:6}  ")


@dataclass(frozen=True)
class _Page:
    """Lines of a report: `width` columns, of which the names of checks take `names`."""

    width: int
    names: int = 0

    def summary(self, check: Check) -> Iterator[str]:
        since = f" (since {one_line(check.since)})" if check.since else ""
        lead = f"{check.result.value:7}  {one_line(check.name):{self.names}}  "
        yield from self.wrapped(one_line(check.reason) + since, lead)
        if check.result is not Result.BROKEN:
            yield from self.findings(check, FINDINGS, " " * len(lead))

    def at_length(self, check: Check) -> Iterator[str]:
        title = f"{one_line(check.name)}, broken since {one_line(check.since) or 'this night'}"
        yield f"--- {title} {'-' * max(self.width - len(title) - 5, 0)}"
        yield from self.wrapped(one_line(check.reason))
        yield from self.findings(check, len(check.findings), "  ")
        lines = [printable(line) for line in check.log.splitlines()]
        if len(lines) > LOG_LINES:
            yield f"The log ends ({count(len(lines) - LOG_LINES, 'line')} before this are in the report):"
        elif lines:
            yield "The log:"
        yield from (f"  | {line}" for line in lines[-LOG_LINES:])

    def findings(self, check: Check, most: int, indent: str) -> Iterator[str]:
        for finding in check.findings[:most]:
            yield from self.wrapped(one_line(finding), f"{indent}- ")
        if len(check.findings) > most:
            more = f"and {len(check.findings) - most} more: 'clarion nightly report --json'"
            yield from self.wrapped(more, f"{indent}- ")

    def wrapped(self, text: str, lead: str = "") -> list[str]:
        """Return a sentence in lines that fit, the later ones below where the first begins."""
        below = " " * len(lead)
        lines = textwrap.wrap(text, self.width, initial_indent=lead, subsequent_indent=below, break_on_hyphens=False)
        return lines or [lead.rstrip()]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
