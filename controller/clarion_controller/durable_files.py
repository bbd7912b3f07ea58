"""Files that are there whole or not at all, also after a power cut.

Root gives what it makes to the owner of the folder it is made in: who runs `sudo clarion publish`
must not lock the controller, which runs as a user of its own, out of its own files.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clarion_protocol.errors import HostError, NoSpace

PARTIAL = ".partial-"


def write_file(path: Path, chunks: Iterable[bytes], mode: int = 0o644) -> None:
    """Bring `chunks` to `path` in one step that survives a power cut; who reads sees the old file or the new."""
    with _partial(path, chunks, mode) as name:
        name.replace(path)
    sync_folder(path.parent)


def write_new_file(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    """Bring `chunks` to `path` in one step that survives a power cut, unless something is there.

    Raises:
        FileExistsError: something is.
    """
    with _partial(path, chunks, mode) as name:
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
            _give_away(descriptor, path.parent)
            os.fsync(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make the folder `path` if it is missing, so that it is still there after a power cut."""
    if not path.is_dir():
        path.mkdir(mode=mode, exist_ok=True)
        # Whoever owns the folder above may put a link in its place meanwhile: it must not lead root elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, mode)
            _give_away(descriptor, path.parent)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in the folder `path` are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_trouble(path: Path) -> Iterator[None]:
    """Say what is wrong with the disk below `path` if it takes no more.

    Raises:
        NoSpace: it is full.
        HostError: a file cannot be read or written for another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space left in {path}; nothing was changed", hint=f"Run 'df -h {path}'.") from error
        raise HostError(
            f"{error.filename or path}: {error.strerror}", hint=f"Run 'ls -la {path}' to see why."
        ) from error


def _give_away(descriptor: int, folder: Path) -> None:
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
