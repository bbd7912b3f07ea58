"""A fleet as a picture: a table of hosts, who lists them, and what does not fit together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clarion_controller.api.answers import HostAnswer, SourceAnswer
from clarion_controller.cli.show import STYLES, ago, console, count, one_line
from clarion_controller.cli.status import connection
from clarion_protocol.errors import BadConfig, ClarionError

INTERVAL = 2.0  # seconds between two looks
MOST_FINDINGS = 20

_Column = Callable[[HostAnswer], str]


def picture_of(hosts: Sequence[HostAnswer], sources: Sequence[SourceAnswer]) -> Group:
    """Return the hosts as a table; columns in which nobody has anything are left out."""
    parts: list[RenderableType] = [_table(hosts)] if hosts else []
    findings = [f"{host.name}: {one_line(finding)}" for host in hosts for finding in host.findings]
    if len(findings) > MOST_FINDINGS:
        findings[MOST_FINDINGS:] = [f"and {len(findings) - MOST_FINDINGS:,} more: 'clarion hosts --json'"]
    # A finding and a source are sentences, to be broken between words; a table's cells are not.
    notes = [*map(_sentence, findings), *(line for source in sources for line in _source(source))]
    return Group(*parts, *([Text("")] if parts and notes else []), *notes)


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


def _table(hosts: Sequence[HostAnswer]) -> Table:
    columns = _columns(hosts)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in columns:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for host in hosts:
        cells = [one_line(cell(host)) for cell in columns.values()]
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    return table


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
    return connection(host) if host.is_discovered else f"{connection(host)}, not listed"


def _runs(host: HostAnswer) -> str:
    running = ", ".join(f"{each.app} {each.version}" for each in host.running)
    return f"{running} (drifted: {', '.join(host.drift)})" if host.drift else running


def _source(source: SourceAnswer) -> Iterator[RenderableType]:
    known = f"{count(source.hosts, 'host')}, {ago(source.answered_at, time.time())}"
    if source.answered_at is None:
        known = "has not answered yet"
    yield _sentence(f"{source.environment}, {source.source}: {known}")
    if source.offered is not None:
        sentence = f"now it lists {count(source.offered, 'host')}, which is not believed: 'clarion deploy' says why"
        yield Padding(Text(sentence, style="yellow"), (0, 0, 0, 2), expand=False)
    if source.trouble:
        yield Padding(Text(one_line(source.trouble), style="yellow"), (0, 0, 0, 2), expand=False)
    if source.hint:
        yield Padding(Text(one_line(source.hint), style="dim"), (0, 0, 0, 2), expand=False)


def _sentence(text: str) -> RenderableType:
    return Text(one_line(text))
