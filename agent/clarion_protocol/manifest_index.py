"""Where the pages of a manifest lie in its file, so that a host with an older one fetches only what differs.

The index is the file's beginning, a skippable frame of zstd (RFC 8878, section 3.1.2): the length of
each page, and the beginning of its SHA-256. It is a hint. What is put together by it counts only
once the file as a whole is what was signed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from clarion_protocol.ranges import Span, merge

# What is fetched to see the index. It has room for 2,000 pages, which list 100,000 small files or 32,000 large ones.
BEGINNING = 32 * 1024
# Far less than between frames: it is not worth a request to fetch half a manifest with a page of it.
MAX_GAP = 8 * 1024

_HEADER = struct.Struct("<II")
_PAGE = struct.Struct("<I12s")
_MAGIC = 0x184D2A50


class Page(NamedTuple):
    """A page's place in the file, compressed, and the beginning of its hash there."""

    offset: int
    length: int
    digest: bytes

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + self.length

    def of(self, file: bytes) -> bytes:
        """Return the page's bytes in `file`."""
        return file[self.offset : self.end]


def write_index(pages: Sequence[bytes]) -> bytes:
    """Return the index of the compressed `pages`, which follow it in the file."""
    records = [_PAGE.pack(len(page), _digest(page)) for page in pages]
    return _HEADER.pack(_MAGIC, _PAGE.size * len(records)) + b"".join(records)


def read_index(file: bytes, total: int) -> list[Page]:
    """Return the pages of a manifest of `total` bytes that begins as `file`; none if that does not say them all."""
    if len(file) < _HEADER.size:
        return []
    magic, size = _HEADER.unpack_from(file)
    begin = _HEADER.size + size
    if magic != _MAGIC or size % _PAGE.size or begin > len(file):
        return []
    records = list(_PAGE.iter_unpack(file[_HEADER.size : begin]))
    offsets = list(accumulate((length for length, _ in records), initial=begin))
    if offsets[-1] != total:
        return []
    return [Page(offset, length, digest) for offset, (length, digest) in zip(offsets, records, strict=False)]


def in_common(pages: Iterable[Page], older: bytes) -> dict[Page, bytes]:
    """Return those of `pages` that the file of an older manifest has too, with their bytes."""
    known = {page.digest: page for page in read_index(older, len(older))}
    return {page: known[page.digest].of(older) for page in pages if page.digest in known}


def missing(pages: Iterable[Page], common: Mapping[Page, bytes]) -> tuple[Span, ...]:
    """Return what is still to be fetched when the beginning is here and what is in `common`."""
    needed = [Span(page.offset, page.length) for page in pages if page not in common and page.end > BEGINNING]
    return merge(needed, MAX_GAP)


def fill(file: bytes, common: Mapping[Page, bytes], total: int) -> bytes:
    """Return `file`, of `total` bytes, with the pages that were not fetched put where they belong."""
    whole = bytearray(file.ljust(total, b"\0"))
    for page, content in common.items():
        whole[page.offset : page.end] = content
    return bytes(whole)


def _digest(page: bytes) -> bytes:
    return hashlib.sha256(page).digest()[:12]
