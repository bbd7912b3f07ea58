"""One night at a time: the second says who runs, and since when."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from clarion_controller.as_owner import as_owner_of
from clarion_controller.durable_files import disk_trouble, write_new_file
from clarion_protocol.errors import Blocked


@contextmanager
def only_one_night(folder: Path) -> Iterator[None]:
    """Hold the lock of the reports in `folder`; it is free as soon as the process that holds it is gone.

    Raises:
        Blocked: another run has it.
        HostError, NoSpace: the disk does not take the file.
    """
    with _opened(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = file.read(200).strip() or "a process that just began"
            raise Blocked(
                f"another nightly run is under way: {who}", hint="Wait for it, or stop it with 'kill' and its number."
            ) from error
        _sign(file)
        yield


def _opened(folder: Path) -> IO[str]:
    path = folder / "lock"
    with disk_trouble(folder), as_owner_of(folder.parents[1]):  # the home
        if not path.exists():
            with suppress(FileExistsError):
                write_new_file(path, [], 0o644)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+", encoding="utf-8")


def _sign(file: IO[str]) -> None:
    """Write who has the lock; a disk too full for that is no reason for no night."""
    who = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime())}\n"
    with suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), who.encode(), 0)
