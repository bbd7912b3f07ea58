"""What a terminal or a script gets to see: errors, JSON, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

ENDLESS = 10_000
RED = "\x1b[1;31m"
YELLOW = "\x1b[1;33m"
PLAIN = "\x1b[0m"


def show_error(message: str, hint: str | None) -> None:
    """Write what is wrong and the next command to stderr."""
    print(_label("error:", RED), message, file=sys.stderr)  # noqa: T201
    for line in (hint or "").splitlines():
        print(f"  {line}", file=sys.stderr)  # noqa: T201


def show_warning(message: str) -> None:
    """Write what may be wrong to stderr."""
    print(_label("warning:", YELLOW), message, file=sys.stderr)  # noqa: T201


def _label(text: str, colour: str) -> str:
    return f"{colour}{text}{PLAIN}" if sys.stderr.isatty() else text


def say(text: str = "") -> None:
    """Write a line to stdout."""
    print(text, flush=True)  # noqa: T201


def say_sentence(text: str, indent: int = 0) -> None:
    """Write a sentence to stdout; on a terminal it is broken between words."""
    from rich.padding import Padding  # noqa: PLC0415 (error messages come without rich, and sooner)
    from rich.text import Text  # noqa: PLC0415 (as above)

    console().print(Padding(Text(text), (0, 0, 0, indent), expand=False))


def note(text: str) -> None:
    """Write a line for people to stderr, so that stdout stays fit for scripts."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def show_json(value: Any) -> None:
    """Write structs as JSON: the fields are those of `clarion_controller.api.answers`."""
    import msgspec  # noqa: PLC0415 (only readers of JSON pay for it)

    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def console() -> Console:
    """Return the terminal, or whatever stands in its place."""
    from rich.console import Console  # noqa: PLC0415 (as above)

    # What is not a terminal has no width: a line that a program reads is never broken.
    return Console(highlight=False, width=None if sys.stdout.isatty() else ENDLESS)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table without a frame; cells are plain text, whatever a host put into them."""
    from rich.table import Table  # noqa: PLC0415 (as above)
    from rich.text import Text  # noqa: PLC0415 (as above)

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console().print(table)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return each row as a line, its cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


STYLES = {
    "committed": "green",
    "succeeded": "green",
    "connected": "green",
    "failed": "red",
    "rolled_back": "yellow",
    "degraded": "yellow",
    "unreachable": "yellow",
    "drifted": "yellow",
    "not connected": "yellow",
    "aborted": "yellow",
    "cancelled": "yellow",
    "superseded": "yellow",
    "works": "green",
    "broken": "red",
    "skipped": "yellow",
}
