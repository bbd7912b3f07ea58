"""Keeps what is slow to make, outside the repository and between runs.

Rules: an entry is whole or absent (made aside, then renamed into place); one process makes it while the others
wait; nobody changes it afterwards; what no run has used for two weeks is removed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from .locks import Lock

UNUSED_FOR = 14 * 24 * 3600.0


def default_home() -> Path:
    """Return the folder of the lab's cache on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "clarion-lab"


class Cache:
    """A folder of finished entries, each named by a key that says everything it was made from.

    What a cache has handed out is safe from pruning until `close`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._held: dict[str, Lock] = {}

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every entry."""
        while self._held:
            self._held.popitem()[1].release()

    def entry(self, key: str, make: Callable[[Path], None]) -> Path:
        """Return the folder for `key`, made by `make(empty folder)` if it is not there yet."""
        target = self.home / key
        if key not in self._held:
            lock = Lock(self._lock_path(key))
            try:
                self._provide(target, make, lock)
            except BaseException:
                lock.release()
                raise
            self._held[key] = lock
        return target

    def _provide(self, target: Path, make: Callable[[Path], None], lock: Lock) -> None:
        lock.shared()
        lock.touch()
        if not target.exists():
            lock.exclusive()
            self._make_unless_made(target, make)
            self._prune()
            lock.shared()

    def _make_unless_made(self, target: Path, make: Callable[[Path], None]) -> None:
        # another process may have made it while this one waited for the lock
        if not target.exists():
            self._make(target, make)

    def _make(self, target: Path, make: Callable[[Path], None]) -> None:
        aside = target.with_name(f"{target.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o755)
        make(aside)
        aside.rename(target)

    def _prune(self) -> None:
        oldest = time.time() - UNUSED_FOR
        for path in (self.home / "locks").glob("*.lock"):
            if path.stat().st_mtime < oldest:
                self._forget(path)

    def _forget(self, path: Path) -> None:
        lock = Lock(path)
        if not lock.seize():
            lock.release()
            return
        for name in (path.stem, f"{path.stem}.partial"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        lock.remove()

    def _lock_path(self, key: str) -> Path:
        return self.home / "locks" / f"{key}.lock"
