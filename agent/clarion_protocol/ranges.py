"""What a host still has to fetch: which files it has already, and which bytes of the archive hold the others.

A store is asked with single-range GETs only (object stores and caches know no others).
Neighbouring ranges are merged, because a request costs more than a small gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clarion_protocol.entries import File, Frame
from clarion_protocol.manifest import Manifest

MAX_GAP = 128 * 1024


class Span(NamedTuple):
    """Bytes of the archive that are fetched with one request."""

    offset: int
    length: int


class Plan(NamedTuple):
    """How a release comes to be: `links` maps its paths to paths of the old release, `frames` hold the rest."""

    links: Mapping[str, str]
    frames: tuple[int, ...]
    spans: tuple[Span, ...]

    @property
    def length(self) -> int:
        """How many bytes will be fetched."""
        return sum(span.length for span in self.spans)


def plan(manifest: Manifest, have: Sequence[File], *, max_gap: int = MAX_GAP) -> Plan:
    """Return how to make the release of `manifest` on a host whose old release has the intact files `have`.

    A file is linked if its content and mode are there: from the same path if possible, so
    that a content that occurs often does not put all its links on one inode. Empty files
    are made anew: there is nothing in them to save.
    """
    same_path = {_identity(file): file.path for file in have}
    same_content = {_identity(file)[:2]: file.path for file in have}
    links: dict[str, str] = {}
    needed: set[int] = set()
    for file in manifest.files():
        identity = _identity(file)
        base = same_path.get(identity) or same_content.get(identity[:2])
        if base is not None and file.size:
            links[file.path] = base
        elif file.size:
            needed.add(file.frame)
    frames = tuple(sorted(needed))
    return Plan(links, frames, merge([manifest.frames[number] for number in frames], max_gap))


def merge(parts: Sequence[Frame] | Sequence[Span], max_gap: int) -> tuple[Span, ...]:
    """Return the spans that cover `parts` (sorted by offset), bridging gaps of up to `max_gap` bytes."""
    spans: list[Span] = []
    for part in parts:
        end = part.offset + part.length
        if spans and part.offset - (spans[-1].offset + spans[-1].length) <= max_gap:
            spans[-1] = Span(spans[-1].offset, end - spans[-1].offset)
        else:
            spans.append(Span(part.offset, part.length))
    return tuple(spans)


def _identity(file: File) -> tuple[str, str, str]:
    return (file.sha256, file.mode, file.path)
