"""File locks that the kernel lets go when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """One advisory lock file, held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def exclusive(self) -> None:
        """Wait until nobody else holds the lock."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def shared(self) -> None:
        """Hold the lock together with other sharers."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def seize(self) -> bool:
        """Take the lock if nobody living holds it, and say whether that worked."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def touch(self) -> None:
        """Note the time of this use, for whoever tidies up old entries."""
        os.utime(self._descriptor)

    def release(self) -> None:
        """Let go and leave the file."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Let go and take the file away."""
        self.path.unlink(missing_ok=True)
        self.release()
