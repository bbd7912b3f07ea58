"""The archive: plain tar records, cut into independent zstd frames.

- Folders come first, then files, then links, each sorted by path: the order in which an
  agent writes them, and one that `tar --zstd -xf` opens.
- A record says only what the manifest says: no owner, no names, time 0. So the same files
  give the same bytes, whoever packs them, wherever, whenever.
- A file from `LARGE` bytes is a frame of its own; smaller records share frames of about
  `GROUP` bytes. Where a group ends depends on the path that ends it, so that one file more
  or less changes only the frames near it.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clarion_protocol.entries import Entry, File, Folder, Link
from clarion_protocol.errors import BadContent
from clarion_protocol.zstd import (
    CompressionParameter,
    DecompressionParameter,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdError,
)

BLOCK = 512
LARGE = 16 * 1024
GROUP = 64 * 1024
CHUNK = 256 * 1024
END_OF_ARCHIVE = bytes(2 * BLOCK)
LEVEL = 9
# 8 MiB, the most that levels up to 19 ask for; a frame that wants more is not ours.
MAX_WINDOW_LOG = 23


class Record(NamedTuple):
    """One tar record to be written: its header and how many bytes of data follow."""

    path: str
    header: bytes
    size: int

    @property
    def padding(self) -> bytes:
        """The zeros that fill the last block."""
        return bytes(-self.size % BLOCK)

    @property
    def length(self) -> int:
        """All bytes of the record: header, data, padding."""
        return len(self.header) + self.size + -self.size % BLOCK


def folder_record(path: str) -> Record:
    """Return the record of a folder."""
    return _record(path, tarfile.DIRTYPE, 0o755)


def file_record(path: str, mode: int, size: int) -> Record:
    """Return the record of a regular file of `size` bytes."""
    return _record(path, tarfile.REGTYPE, mode, size=size)


def link_record(path: str, target: str) -> Record:
    """Return the record of a symbolic link."""
    return _record(path, tarfile.SYMTYPE, 0o777, target=target)


def record_of(entry: Entry) -> Record:
    """Return the record that must stand in the archive for `entry`."""
    if isinstance(entry, Folder):
        return folder_record(entry.path)
    if isinstance(entry, Link):
        return link_record(entry.path, entry.target)
    return file_record(entry.path, int(entry.mode, 8), entry.size)


def archive_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return `entries` in the order of their records: folders, files by their place, links."""

    def place(entry: Entry) -> tuple[int, int, int, str]:
        if isinstance(entry, File):
            return (1, entry.frame, entry.offset, entry.path)
        return (0 if isinstance(entry, Folder) else 2, 0, 0, entry.path)

    return sorted(entries, key=place)


def group_records(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records that share a frame, large ones alone, the others in about `GROUP` bytes."""
    group: list[Record] = []
    length = 0
    for record in records:
        if record.size >= LARGE:
            yield [record]
            continue
        group.append(record)
        length += record.length
        if _ends_group(record, length):
            yield group
            group, length = [], 0
    if group:
        yield group


def compress(pieces: Iterable[bytes], size: int, level: int = LEVEL) -> Iterator[bytes]:
    """Yield one zstd frame of `pieces`, which are `size` bytes together; the frame says so and carries a checksum."""
    options: dict[int, int] = {
        CompressionParameter.compression_level: level,
        CompressionParameter.checksum_flag: 1,
        CompressionParameter.content_size_flag: 1,
    }
    compressor = ZstdCompressor(options=options)
    compressor.set_pledged_input_size(size)
    for piece in pieces:
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()


def decompress(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the content of one frame in pieces of at most `CHUNK` bytes; never more than `size` in all.

    What the frame says about its own size and memory is not believed.

    Raises:
        BadContent: it is no zstd frame, wants too much memory, or is not exactly `size` bytes.
    """
    decompressor = ZstdDecompressor(options={DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
    left = size
    for piece in pieces:
        for content in _drain(decompressor, piece, left):
            left -= len(content)
            yield content
    if not decompressor.eof or left:
        raise BadContent(f"a frame ends {left} bytes early" if left else "a frame has no end")


def _drain(decompressor: ZstdDecompressor, piece: bytes, left: int) -> Iterator[bytes]:
    if decompressor.eof:
        raise BadContent("bytes follow the end of a frame")
    while True:
        try:
            content = decompressor.decompress(piece, max_length=min(left + 1, CHUNK))
        except ZstdError as error:
            raise BadContent(f"not a zstd frame of this format: {error}") from error
        left -= len(content)
        if left < 0:
            raise BadContent("a frame holds more than the manifest says")
        if content:
            yield content
        if decompressor.eof or decompressor.needs_input:
            break
        piece = b""
    if decompressor.eof and decompressor.unused_data:
        raise BadContent("bytes follow the end of a frame")


def _ends_group(record: Record, length: int) -> bool:
    """Cut by chance, drawn from the path: likelier for longer records, so that groups average `GROUP` bytes."""
    if length < GROUP // 4 or length >= GROUP * 4:
        return length >= GROUP * 4
    draw = int.from_bytes(hashlib.sha256(record.path.encode()).digest()[:4], "big")
    return draw * (GROUP * 3 // 4) < record.length * 2**32


def _record(path: str, kind: bytes, mode: int, *, size: int = 0, target: str = "") -> Record:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size, info.linkname = kind, mode, size, target
    return Record(path, info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"), size)
