"""Small files out of a package, wherever it lies: only the frames they are in are fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from clarion_controller.stores.store import Span
from clarion_protocol import frames
from clarion_protocol.entries import Frame
from clarion_protocol.errors import BadContent
from clarion_protocol.manifest import Manifest

MAX_BYTES = 512 * 1024
KEPT_FRAMES = 64

Fetch = Callable[[Span], Iterable[bytes]]


class Contents:
    """What is in a package, by its manifest; `fetch` returns bytes of its archive."""

    def __init__(self, manifest: Manifest, fetch: Fetch) -> None:
        self.manifest = manifest
        self.files = {file.path: file for file in manifest.files()}
        self._fetch = fetch
        self._frame = lru_cache(maxsize=KEPT_FRAMES)(self._read_frame)

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or None if there is none that is small.

        Raises:
            BadContent: the archive is not what the manifest says.
            ClarionError: the store does not answer.
        """
        file = self.files.get(path)
        if file is None or file.size > MAX_BYTES:
            return None
        return self._frame(self.manifest.frames[file.frame])[file.offset : file.offset + file.size]

    def _read_frame(self, frame: Frame) -> bytes:
        packed = b"".join(self._fetch(Span(frame.offset, frame.length)))
        if hashlib.sha256(packed).hexdigest() != frame.sha256:
            raise BadContent("a frame of the archive differs from its hash", hint="Publish the package again.")
        return b"".join(frames.decompress([packed], frame.size))


def from_file(archive: Path) -> Fetch:
    """Return what fetches from an archive on this machine's disk."""

    def fetch(span: Span) -> Iterator[bytes]:
        with archive.open("rb") as file:
            file.seek(span.offset)
            yield file.read(span.length)

    return fetch
