"""Check a package as every host will, and beyond: byte by byte, so that what `tar -xf` yields is what is listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from clarion_protocol import frames
from clarion_protocol.app_config import FILE_NAME, MAX_BYTES, load_app_config
from clarion_protocol.entries import Entry, File
from clarion_protocol.errors import BadContent
from clarion_protocol.manifest import Manifest
from clarion_protocol.tape import Tape


def check_package(package: Path, manifest: Manifest) -> None:
    """Check that the archive holds the manifest's records in their order and nothing else, and is of the same app.

    The version cannot be checked: nothing in the archive says it.

    Raises:
        BadContent: names the first entry or frame that differs.
        BadConfig: clarion.toml breaks a rule.
    """
    config = bytearray()
    with package.open("rb") as archive:
        tape = Tape(_content(archive, manifest))
        starts = _frame_starts(manifest)
        for entry in frames.archive_order(manifest.entries):
            _check_record(tape, entry, starts, config if entry.path == FILE_NAME else None)
        tape.expect(frames.END_OF_ARCHIVE, "the end of the archive")
        tape.expect_end()
        if archive.read(1):
            raise BadContent(f"{package.name} goes on after its last frame")
    _check_app(bytes(config), manifest.app)


def _check_app(config: bytes, app: str) -> None:
    try:
        packed = load_app_config(config.decode("utf-8"), f"{FILE_NAME} in the package").app.name
    except UnicodeDecodeError as error:
        raise BadContent(f"{FILE_NAME} in the package is no text") from error
    if packed != app:
        raise BadContent(f"the manifest is of {app}, but {FILE_NAME} in the package is that of {packed}")


def _check_record(tape: Tape, entry: Entry, starts: list[int], kept: bytearray | None) -> None:
    record = frames.record_of(entry)
    tape.expect(record.header, f"the header of {entry.path!r}")
    if isinstance(entry, File):
        if tape.position != starts[entry.frame] + entry.offset:
            raise BadContent(f"{entry.path!r} is not where the manifest says")
        digest = hashlib.sha256()
        for data in tape.take(entry.size):
            digest.update(data)
            if kept is not None and len(kept) <= MAX_BYTES:
                kept += data
        if digest.hexdigest() != entry.sha256:
            raise BadContent(f"{entry.path!r} differs from its hash")
    tape.expect(record.padding, f"the padding of {entry.path!r}")


def _frame_starts(manifest: Manifest) -> list[int]:
    starts = [0]
    for frame in manifest.frames:
        starts.append(starts[-1] + frame.size)
    return starts


def _content(archive: BinaryIO, manifest: Manifest) -> Iterator[bytes]:
    """Yield all decompressed bytes, with the hash of each frame and of the whole archive checked."""
    whole = hashlib.sha256()
    for number, frame in enumerate(manifest.frames):
        digest = hashlib.sha256()

        def pieces(left: int = frame.length, digest: hashlib._Hash = digest) -> Iterator[bytes]:
            while left and (piece := archive.read(min(left, frames.CHUNK))):
                left -= len(piece)
                digest.update(piece)
                whole.update(piece)
                yield piece

        yield from frames.decompress(pieces(), frame.size)
        if digest.hexdigest() != frame.sha256:
            raise BadContent(f"frame {number} differs from its hash")
    if whole.hexdigest() != manifest.archive.sha256:
        raise BadContent("the archive differs from its hash")
