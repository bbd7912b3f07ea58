"""A build's log on disk: the beginning and the end of it are kept, however much it writes.

The file `log` holds the first bytes, `log.<offset>` what follows from there; of those only the newest two stay. So
an offset into what was written means the same all the time, and nothing is remembered beside the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MAX_BEGINNING = 8 * 2**20
MAX_PIECE = 4 * 2**20
MAX_READ = 2**20


@dataclass(frozen=True)
class Words:
    """What stands in a log from some offset on; `next_offset` is where to read on, `left_out` what was dropped."""

    text: bytes
    next_offset: int
    left_out: int = 0


def append(folder: Path, said: bytes) -> None:
    """Add what a build wrote to its log in `folder`."""
    while said:
        start, path = _pieces(folder)[-1]
        room = (MAX_PIECE if start else MAX_BEGINNING) - _size(path)
        if room <= 0:
            path = _next_piece(folder, start + _size(path))
            room = MAX_PIECE
        with path.open("ab") as file:
            file.write(said[:room])
        said = said[room:]


def read(folder: Path, offset: int = 0, most: int = MAX_READ) -> Words:
    """Return at most `most` bytes of the log in `folder` from `offset` on."""
    for start, path in _pieces(folder):
        if offset < start + _size(path):
            begin = max(offset, start)
            with path.open("rb") as file:
                file.seek(begin - start)
                text = file.read(most)
            return Words(text, begin + len(text), begin - offset)
    return Words(b"", offset)


def _pieces(folder: Path) -> list[tuple[int, Path]]:
    """Return the pieces of a log that there are, each with the offset at which it begins."""
    later = sorted((int(path.suffix[1:]), path) for path in folder.glob("log.*") if path.suffix[1:].isdigit())
    return [(0, folder / "log"), *later]


def _next_piece(folder: Path, start: int) -> Path:
    for _, old in _pieces(folder)[1:-1]:
        old.unlink(missing_ok=True)
    return folder / f"log.{start}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
