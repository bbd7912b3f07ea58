"""Write the archive and list what is in it, in one pass over the files and in little memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from clarion_controller.building.scan import Found
from clarion_protocol import frames
from clarion_protocol.entries import Entry, File, Folder, Frame, Link
from clarion_protocol.errors import BadManifest, BuildFailed
from clarion_protocol.frames import Record
from clarion_protocol.manifest import Archive, Manifest, Totals
from clarion_protocol.manifest_rules import MAX_RATIO, is_bomb


def pack(tree: Path, found: Sequence[Found], archive: BinaryIO, app: str, version: str) -> Manifest:
    """Write what was `found` in `tree` to `archive`; return its manifest, checked.

    Raises:
        BuildFailed: a file changes while it is read.
        BadManifest: the package would break a rule of the format.
    """
    writer = _Writer(tree, found, archive)
    of_kind = {kind: [item for item in found if item.kind is kind] for kind in (Folder, File, Link)}
    groups = (frames.group_records(map(_record, items)) for items in of_kind.values())
    for group in chain.from_iterable(groups):
        writer.write_frame(group)
    writer.write_end()
    return writer.manifest(app, version)


class _Writer:
    """The archive as it grows: frames written so far, and where each file came to lie."""

    def __init__(self, tree: Path, found: Sequence[Found], archive: BinaryIO) -> None:
        self._tree = tree
        self._found = {item.path: item for item in found}
        self._archive = archive
        self._hash = hashlib.sha256()
        self._length = 0
        self._frames: list[Frame] = []
        self._files: dict[str, File] = {}

    def write_frame(self, group: Sequence[Record]) -> None:
        """Write the records of one frame, with their data.

        Raises:
            BadManifest: they are so regular that they look like a bomb.
        """
        self._write(self._pieces(group), sum(record.length for record in group))
        if is_bomb(self._frames[-1].length, self._frames[-1].size):
            raise BadManifest(
                f"{group[0].path!r} shrinks more than {MAX_RATIO}:1, so hosts would take it for a bomb",
                hint="Leave it out, or let the app write it when it starts.",
            )

    def write_end(self) -> None:
        """Write the zeros that end a tar archive."""
        self._write(iter([frames.END_OF_ARCHIVE]), len(frames.END_OF_ARCHIVE))

    def manifest(self, app: str, version: str) -> Manifest:
        """Return the manifest of all that was written."""
        unpacked = sum(file.size for file in self._files.values())
        manifest = Manifest(
            schema=1,
            app=app,
            version=version,
            archive=Archive(self._length, self._hash.hexdigest()),
            totals=Totals(len(self._found), unpacked),
            frames=tuple(self._frames),
            entries=tuple(self._entry(item) for item in self._found.values()),
        )
        manifest.check()
        return manifest

    def _entry(self, item: Found) -> Entry:
        if item.kind is Folder:
            return Folder(item.path)
        return Link(item.path, item.target) if item.kind is Link else self._files[item.path]

    def _write(self, pieces: Iterator[bytes], size: int) -> None:
        digest, start = hashlib.sha256(), self._length
        for compressed in frames.compress(pieces, size):
            digest.update(compressed)
            self._hash.update(compressed)
            self._length += self._archive.write(compressed)
        self._frames.append(Frame(start, self._length - start, size, digest.hexdigest()))

    def _pieces(self, group: Sequence[Record]) -> Iterator[bytes]:
        position = 0
        for record in group:
            yield record.header
            item = self._found[record.path]
            if item.kind is File:
                digest = hashlib.sha256()
                for data in _read(self._tree / record.path, record.size):
                    digest.update(data)
                    yield data
                self._files[record.path] = File(
                    path=record.path,
                    mode="0755" if item.mode == 0o755 else "0644",
                    size=record.size,
                    sha256=digest.hexdigest(),
                    frame=len(self._frames),
                    offset=position + len(record.header),
                )
            yield record.padding
            position += record.length


def _record(item: Found) -> Record:
    if item.kind is Folder:
        return frames.folder_record(item.path)
    if item.kind is Link:
        return frames.link_record(item.path, item.target)
    return frames.file_record(item.path, item.mode, item.size)


def _read(path: Path, size: int) -> Iterator[bytes]:
    """Yield exactly `size` bytes of the file at `path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        left = size
        while left and (data := file.read(min(left, frames.CHUNK))):
            left -= len(data)
            yield data
        if left or file.read(1):
            raise BuildFailed(f"{path.name} changed while it was packed", hint="Something of the build still runs.")
