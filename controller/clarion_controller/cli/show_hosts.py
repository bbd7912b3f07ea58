"""A fleet as a picture: a table of hosts, who lists them, and what does not fit together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clarion_controller.api.answers import HostAnswer, SourceAnswer
from clarion_controller.cli.show import STYLES, console
from clarion_controller.cli.status import connection
from clarion_controller.texts import ago, count, one_line
from clarion_protocol.errors import BadConfig, ClarionError

INTERVAL = 2.0  # seconds between two looks
MOST_FINDINGS = 20
GAP = 2  # between columns
LEAST_NEEDED = ("instance", "disk free", "agent", "load", "zone", "environment")

_Column = Callable[[HostAnswer], str]


def picture_of(hosts: Sequence[HostAnswer], sources: Sequence[SourceAnswer]) -> Group:
    """Return the hosts as a table, what does not fit together, and who lists them."""
    findings = [f"{host.name}: {one_line(finding)}" for host in hosts for finding in _findings(host)]
    if len(findings) > MOST_FINDINGS:
        findings[MOST_FINDINGS:] = [f"and {len(findings) - MOST_FINDINGS:,} more: 'clarion hosts --json'"]
    # A finding and a source are sentences, to be broken between words; a table's cells are not.
    parts: list[list[RenderableType]] = [
        [HostTable(hosts)] if hosts else [],
        [Text(finding) for finding in findings],
        [line for source in sources for line in _source(source)],
    ]
    shown = [part for part in parts if part]
    spaced = [each for part in shown for each in (*part, Text(""))]
    return Group(*spaced[:-1])


def watch_hosts(look: Callable[[], RenderableType], interval: float = INTERVAL) -> None:
    """Show what `look` returns until Ctrl-C; a controller that is away for a while is said to be.

    Raises:
        BadConfig: nobody watches, because this is no terminal.
    """
    if not sys.stdout.isatty():
        raise BadConfig("--watch needs a terminal", hint="A program asks again and again: 'clarion hosts --json'.")
    try:
        with Live(look(), console=console(), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
            for picture in _pictures(look, interval):
                live.update(picture, refresh=True)
    except KeyboardInterrupt:
        return


def _pictures(look: Callable[[], RenderableType], interval: float) -> Iterator[RenderableType]:
    while True:
        time.sleep(interval)
        try:
            yield look()
        except ClarionError as error:
            yield Text(f"{error.message}; asking again", style="yellow")


@dataclass(frozen=True)
class HostTable:
    """The hosts as a table of whole cells: where they do not fit, the columns least needed are left out."""

    hosts: Sequence[HostAnswer]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as it may be."""
        columns = {title: [one_line(cell(host)) for host in self.hosts] for title, cell in _columns(self.hosts).items()}
        for title in LEAST_NEEDED:
            if _width(columns) > options.max_width:
                columns.pop(title, None)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for title in columns:
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for row in zip(*columns.values(), strict=True):
            table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
        yield table


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(max(map(cell_len, (title, *cells))) + GAP for title, cells in columns.items())


def _style(cell: str) -> str:
    return "yellow" if cell.startswith(("without agent", "not connected", "gone")) else STYLES.get(cell, "")


def _columns(hosts: Sequence[HostAnswer]) -> dict[str, _Column]:
    now = time.time()
    columns: dict[str, _Column] = {
        "host": lambda host: host.name,
        "environment": lambda host: host.environment,
        "is": _is,
        "seen": lambda host: ago(host.last_seen, now),
        "runs": _runs,
        "zone": lambda host: host.zone,
        "instance": lambda host: host.instance,
        "agent": lambda host: host.facts.agent_version if host.facts else "",
        "load": lambda host: f"{host.facts.load:.1f} of {host.facts.cpus}" if host.facts else "",
        "disk free": lambda host: f"{host.facts.disk_free / 1e9:.1f} GB" if host.facts else "",
    }
    if len({host.environment for host in hosts}) == 1 and any(host.zone for host in hosts):
        del columns["environment"]  # every column counts where a cloud fills more of them
    return {title: cell for title, cell in columns.items() if any(map(cell, hosts))}


def _is(host: HostAnswer) -> str:
    if host.is_discovered:
        return connection(host)
    return f"{connection(host)}, not listed" if host.is_connected else "gone"


def _runs(host: HostAnswer) -> str:
    return ", ".join(f"{each.app} {each.version}" for each in host.running)


def _findings(host: HostAnswer) -> Iterator[str]:
    yield from host.findings
    for app in host.drift:
        yield f"drifted: what runs of {app} is not what is wanted; 'clarion status {app}' shows both"


def _source(source: SourceAnswer) -> Iterator[RenderableType]:
    known = f"{count(source.hosts, 'host')}, {ago(source.answered_at, time.time())}"
    if source.answered_at is None:
        known = "has not answered yet"
    yield Text(one_line(f"{source.environment}, {source.source}: {known}"))
    if source.offered is not None:
        sentence = f"now it lists {count(source.offered, 'host')}, which is not believed: 'clarion deploy' says why"
        yield Padding(Text(sentence, style="yellow"), (0, 0, 0, 2), expand=False)
    if source.trouble:
        yield Padding(Text(one_line(source.trouble), style="yellow"), (0, 0, 0, 2), expand=False)
    if source.hint:
        yield Padding(Text(one_line(source.hint), style="dim"), (0, 0, 0, 2), expand=False)
