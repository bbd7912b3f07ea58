"""What every package store can do; one file a kind beside this one.

A key is a path such as ``shop/shop-1.0.0.tar.zst``. What lies under a key never changes: it
is put once, and what it must be is known from signed metadata, so no store is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Stored:
    """One object: its key, and its length in bytes."""

    key: str
    length: int


@dataclass(frozen=True)
class Span:
    """`length` bytes from `offset`."""

    offset: int
    length: int


class Store(Protocol):
    """A package store. Calls block; any thread may make them.

    Every method raises CloudUnavailable where the store does not answer, and CloudRefused where it does not let us.
    """

    def put_if_absent(self, key: str, file: Path, sha256: str) -> bool:
        """Store a file durably and whole, or not at all; return False, and change nothing, if the key is there.

        Raises:
            BadContent: the file's bytes are not those of `sha256`.
        """

    def get(self, key: str, span: Span | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, or those of a span within it, in chunks.

        Raises:
            UnknownPackage: there is no such object.
        """

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key, or None."""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what lies under keys that begin with `prefix`, in their order."""

    def delete(self, key: str) -> None:
        """Remove an object; harmless if there is none."""

    def presign(self, key: str, ttl: float) -> str | None:
        """Return an address from which anybody can get the object (GET, with ranges) for `ttl` seconds.

        None if this store has no addresses of its own: the controller hands its objects out.
        """
