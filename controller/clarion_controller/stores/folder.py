"""Packages in a folder of the controller's own disk: what a cluster begins with.

Names of files are keys. A file is there whole or not at all, also after a power cut; no link is followed,
and what is no plain file does not exist. Trouble with the disk is HostError, or NoSpace if it is full.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.durable_files import disk_trouble, make_folder, sync_folder, write_new_file
from clarion_controller.stores.keys import Keys, key_problem, unknown
from clarion_controller.stores.sending import CHUNK, check, hashed, opened
from clarion_controller.stores.store import Span, Stored
from clarion_protocol.errors import HostError


@dataclass(frozen=True)
class FolderStore:
    """The objects in the folder `path`."""

    path: Path

    def put_if_absent(self, key: str, file: Path, sha256: str) -> bool:
        """Store a file, or return False if the key is there."""
        target = self._file(key)
        with opened(file) as content, disk_trouble(self.path):
            if self.head(key):
                check(content, sha256)
                return False
            self._make_folders(target.parent)
            try:
                write_new_file(target, hashed(content, sha256), mode=0o644)
            except FileExistsError:
                return self._came_second(key)
        return True

    def get(self, key: str, span: Span | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, or those of a span within it."""
        with disk_trouble(self.path):
            descriptor = self._open(key)
            if descriptor is None:
                raise unknown(key)
            try:
                size = os.fstat(descriptor).st_size
                span = span or Span(0, size)
                offset, end = span.offset, min(span.offset + span.length, size)
                while offset < end and (data := os.pread(descriptor, min(CHUNK, end - offset), offset)):
                    yield data
                    offset += len(data)
            finally:
                os.close(descriptor)

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key, or None."""
        with disk_trouble(self.path):
            descriptor = self._open(key)
            if descriptor is None:
                return None
            try:
                return Stored(key, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what lies under keys that begin with `prefix`, in the order of their bytes, as buckets have it."""
        with disk_trouble(self.path):
            names = [path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()]
        for key in sorted(names, key=str.encode):
            stored = self.head(key) if key.startswith(prefix) and key_problem(key) is None else None
            if stored:
                yield stored

    def delete(self, key: str) -> None:
        """Remove an object; harmless if there is none."""
        file = self._file(key)
        with disk_trouble(self.path):
            if file.exists():
                file.unlink(missing_ok=True)
                sync_folder(file.parent)

    def presign(self, key: str, ttl: float) -> str | None:
        """Return None: a folder has no addresses of its own."""
        return None

    def _came_second(self, key: str) -> bool:
        if self.head(key) is None:
            raise HostError(f"{self._file(key)} is no file", hint="Remove it, then publish again.")
        return False

    def _file(self, key: str) -> Path:
        return self.path / Keys().full(key)

    def _open(self, key: str) -> int | None:
        try:
            descriptor = os.open(self._file(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def _make_folders(self, folder: Path) -> None:
        if folder != self.path:
            self._make_folders(folder.parent)
        make_folder(folder)
