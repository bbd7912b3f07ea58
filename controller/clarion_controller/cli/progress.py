"""A rollout while it happens: a live picture on a terminal, a line per change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from clarion_controller.api.answers import DeploymentAnswer, HostProgress
from clarion_controller.cli.show import console, say
from clarion_controller.cli.verdict import trouble
from clarion_controller.texts import clock, count, one_line, short
from clarion_protocol.words import HostStatus

MOST_LINES = 20  # hosts that get a line of their own
MOST_TROUBLES = 10
MARKS = {
    HostStatus.COMMITTED: ("✓", "green"),
    HostStatus.FAILED: ("✗", "red"),
    HostStatus.ROLLED_BACK: ("↩", "yellow"),
    HostStatus.UNREACHABLE: ("?", "yellow"),
    HostStatus.SKIPPED: ("-", "dim"),
    HostStatus.PENDING: ("·", "dim"),
    HostStatus.STAGED: ("·", "cyan"),
}


def watch(states: Iterator[DeploymentAnswer]) -> DeploymentAnswer:
    """Show each state (there is at least one) as it comes and return the last."""
    return _watch_live(states) if sys.stdout.isatty() else _watch_lines(states)


def _watch_live(states: Iterator[DeploymentAnswer]) -> DeploymentAnswer:
    picture = Picture(next(states))
    with Live(picture, console=console(), refresh_per_second=8, vertical_overflow="visible") as live:
        for state in states:
            picture.state = state
            live.refresh()
    return picture.state


def _watch_lines(states: Iterator[DeploymentAnswer]) -> DeploymentAnswer:
    last = next(states)
    show_changes(None, last)
    for state in states:
        show_changes(last, state)
        last = state
    return last


def show_changes(before: DeploymentAnswer | None, after: DeploymentAnswer) -> None:
    """Write what `changes` finds."""
    for line in changes(before, after):
        say(line)


def changes(before: DeploymentAnswer | None, after: DeploymentAnswer) -> Iterator[str]:
    """Yield a line for each host, and for the deployment, that stands elsewhere than before."""
    known = {host.name: (host.status, host.reason) for host in before.hosts} if before else {}
    moved = [host for host in after.hosts if known.get(host.name, _UNTOLD) != (host.status, host.reason)]
    for host in moved:
        yield _line(host.since or time.time(), host.name, host.status.value, host.reason)
    # Its reason counts hosts; where it only follows from the lines above, it is not repeated.
    if before is None or before.status != after.status or (before.reason != after.reason and not moved):
        yield _line(time.time(), short(after.id), after.status.value, after.reason)


_UNTOLD = (HostStatus.PENDING, "")


def _line(moment: float, who: str, status: str, reason: str) -> str:
    return f"{clock(moment)}  {who:20} {status:12} {one_line(reason)}".rstrip()


class Picture:
    """What the terminal shows; drawn anew several times a second, so that time visibly passes."""

    def __init__(self, state: DeploymentAnswer) -> None:
        self.state = state
        self._spinner = Spinner("dots", style="cyan")

    def __rich__(self) -> RenderableType:
        """Draw the present state."""
        drawn = self._hosts(self.state) if len(self.state.hosts) <= MOST_LINES else counts(self.state)
        return drawn if self.state.status.is_final else Group(drawn, self._bottom(self.state))

    def _hosts(self, state: DeploymentAnswer) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for host in state.hosts:
            table.add_row(self._mark(host), host.name, *_where(host, is_over=state.status.is_final))
        return table

    def _mark(self, host: HostProgress) -> RenderableType:
        mark = MARKS.get(host.status)
        return Text(*mark) if mark else self._spinner

    def _bottom(self, state: DeploymentAnswer) -> Text:
        took = (state.finished or time.time()) - state.created
        return Text(
            f"{state.status.value} for {took:.0f} s: {one_line(state.reason)}", style="dim", overflow="ellipsis"
        )


def _where(host: HostProgress, *, is_over: bool) -> tuple[Text, Text]:
    style = MARKS.get(host.status, ("", "cyan"))[1]
    # Cut while the picture moves, so that it never outgrows the terminal; whole when it stands still.
    reason = Text(one_line(host.reason), style="dim", overflow="fold" if is_over else "ellipsis", no_wrap=not is_over)
    return Text(host.status.value.replace("_", " "), style=style), reason


def counts(state: DeploymentAnswer) -> Group:
    """Draw a fleet: a bar, how many hosts stand where, and the first that need a person's eyes."""
    total = max(sum(state.counts.values()), 1)
    parts = [f"{number:,} {status.replace('_', ' ')}" for status, number in state.counts.items() if number]
    lines = [bar(state.counts.get("committed", 0), total), Text(f"{', '.join(parts)} of {count(total, 'host')}")]
    problems = trouble(state)
    lines += [Text(f"  {line}", style="yellow", overflow="ellipsis") for line in problems[:MOST_TROUBLES]]
    if len(problems) > MOST_TROUBLES:
        lines.append(Text(f"  and {len(problems) - MOST_TROUBLES:,} more", style="yellow"))
    return Group(*lines)


def bar(done: int, total: int, width: int = 50) -> Text:
    """Draw how much is done."""
    full = done * width // total
    return Text.assemble(("━" * full, "green"), ("━" * (width - full), "dim"), f" {done * 100 // total} %")
