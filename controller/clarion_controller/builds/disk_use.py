"""How much a build has written, counted a little at a time, and whether the disk has room for more.

Counting can be deceived: by files that are deleted and still open, and in folders that nobody may look into. The
disk's free space cannot, so the build ends as well before that is gone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from clarion_protocol.errors import BuildFailed

STRIDE = 2_000  # entries of one look: about 10 ms
ENTRY_BYTES = 512  # what an empty file costs at least
FREE_BYTES = 2**30
FREE_SHARE = 20  # one part of so many


class DiskUse:
    """The bytes below a folder, as far as they are known; each look goes on where the one before has stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0
        self._running = 0
        self._walk = _totals(folder)

    def look(self) -> int:
        """Count on for a moment; return the most that is known.

        Raises:
            BuildFailed: folders are nested so deeply that nobody could count.
        """
        totals = list(islice(self._walk, STRIDE))
        self._running = max([self._running, *totals[-1:]])
        seen = max(self._last, self._running)
        if len(totals) < STRIDE:
            self._last, self._running, self._walk = self._running, 0, _totals(self._folder)
        return seen


def _totals(folder: Path) -> Iterator[int]:
    """Yield the sum so far after each entry below `folder`; a file with several names counts once."""
    total, todo, seen = 0, [str(folder)], set[int]()
    while todo:
        for entry in _entries(todo.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue  # gone meanwhile
            if is_folder:
                todo.append(entry.path)
            if status.st_nlink == 1 or is_folder or status.st_ino not in seen:
                total += status.st_blocks * 512 + ENTRY_BYTES
            if status.st_nlink > 1 and not is_folder:
                seen.add(status.st_ino)
            yield total


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BuildFailed("the build nests folders deeper than a path can say") from error


def has_room(folder: Path) -> bool:
    """Return whether the file system of `folder` has 1 GiB and 5 % free, and 5 % of the files it can hold."""
    found = os.statvfs(folder)
    enough = found.f_bavail * found.f_frsize >= max(FREE_BYTES, found.f_blocks * found.f_frsize // FREE_SHARE)
    return enough and found.f_favail >= found.f_files // FREE_SHARE
