"""Gives each test a lab, skips all of them where none can be, and says so loudly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from .cache import Cache, default_home
from .lab import Lab
from .requirements import missing

HERE = Path(__file__).parent
TIME_LIMIT = 300
"""Seconds; a whole test, its servers and, on a machine's first run, the rootfs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that boots servers, and skip it where the lab cannot run."""
    mine = [item for item in items if _boots_servers(item)]
    reason = missing() if mine else ""
    for item in mine:
        item.add_marker("lab")
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _boots_servers(item: pytest.Item) -> bool:
    return item.path.is_relative_to(HERE) and "cache" in getattr(item, "fixturenames", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many lab tests were skipped and why, where nobody can overlook it."""
    skipped = [report for report in terminalreporter.getreports("skipped") if "lab" in report.keywords]
    for reason, count in Counter(_reason(report) for report in skipped).items():
        terminalreporter.write_line(f"LAB: {count} tests skipped because {reason}", red=True, bold=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the servers have to say about it: they are gone a moment later."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and lab is not None:
        for server in lab.servers.values():
            report.sections.append((f"journal of {server.name}", server.last_words()))
    return report


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "of no known reason"


@pytest.fixture(scope="session")
def cache() -> Iterator[Cache]:
    """Open the lab's cache on this machine."""
    with Cache(default_home()) as cache:
        yield cache


@pytest.fixture
def lab(cache: Cache) -> Iterator[Lab]:
    """Give a lab without servers yet; all that the test boots in it is gone afterwards."""
    with Lab(cache) as lab:
        yield lab
