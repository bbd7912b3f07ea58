"""Which packages the signed metadata names: for no other does it make sense to ask a bucket, and asking costs."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_protocol.errors import ClarionError

_Stamp = tuple[int, int, int]


class PublishedKeys:
    """The keys of all published packages and manifests of a home, read again when something was published.

    While the metadata cannot be read every key counts as published: then it is the bucket that knows. Any thread.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._alone = threading.Lock()
        self._stamp: _Stamp | None = None
        self._keys: frozenset[str] = frozenset()

    def __contains__(self, key: object) -> bool:
        """Return whether the metadata names a package or a manifest of this key."""
        with suppress(ClarionError, OSError):
            return key in self._now()
        return True

    def _now(self) -> frozenset[str]:
        with self._alone:
            stamp = _stamp_of(self._home / "store" / "metadata" / "timestamp.json")
            if stamp != self._stamp:
                self._keys = frozenset(_keys_in(TufRepository.at(self._home)))
                self._stamp = stamp
            return self._keys


def _keys_in(repository: TufRepository) -> list[str]:
    releases = [release for app in repository.apps() for release in repository.releases(app)]
    return [key for release in releases for key in (release.path, release.manifest_path)]


def _stamp_of(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
