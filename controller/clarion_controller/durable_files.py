"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"


def write_file(path: Path, chunks: Iterable[bytes], mode: int = 0o644) -> None:
    """Bring `chunks` to `path` in one step that survives a power cut; who reads sees the old file or the new."""
    with _partial(path, chunks, mode) as name:
        name.replace(path)
    sync_folder(path.parent)


def write_new_file(path: Path, content: bytes, mode: int) -> None:
    """Bring `content` to `path` in one step, unless something is there.

    Raises:
        FileExistsError: something is.
    """
    with _partial(path, [content], mode) as name:
        os.link(name, path)
    sync_folder(path.parent)


@contextmanager
def _partial(path: Path, chunks: Iterable[bytes], mode: int) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make the folder `path` if it is missing, so that it is still there after a power cut."""
    if not path.is_dir():
        path.mkdir(mode=mode, exist_ok=True)
        path.chmod(mode)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in the folder `path` are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
