"""Reading the file that is put into a store, and making sure that it is the one that was meant."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clarion_protocol.errors import BadContent, HostError

CHUNK = 256 * 1024


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file that is to be put.

    Raises:
        HostError: it cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", hint=f"Run 'ls -la {path.parent}'.") from error
    with file:
        yield file


def hashed(file: BinaryIO, sha256: str, chunk: int = CHUNK) -> Iterator[bytes]:
    """Yield the file's bytes from its beginning; who takes them all knows that they are what was meant.

    Raises:
        BadContent: after the last of them, if they are not.
    """
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(chunk):
        digest.update(data)
        yield data
    if digest.hexdigest() != sha256:
        raise BadContent(
            f"{file.name} has the SHA-256 {digest.hexdigest()[:12]}…, not {sha256[:12]}…; nothing was stored",
            hint="Build it again, then publish.",
        )


def check(file: BinaryIO, sha256: str) -> None:
    """Read the file, and go back to its beginning.

    Raises:
        BadContent: its bytes are not those of `sha256`.
    """
    for _ in hashed(file, sha256):
        pass
    file.seek(0)


def length_of(file: BinaryIO) -> int:
    """Return the length of an opened file in bytes."""
    return os.fstat(file.fileno()).st_size
