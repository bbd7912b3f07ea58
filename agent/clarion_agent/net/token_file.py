"""The file by which an image, or what boots it, hands a join token to a new server.

- Only a regular file is read: a pipe would be waited for without end, and a link leads to what is somebody else's.
- It stays open until the server has joined, so that the file that is deleted is the one that was read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clarion_protocol.errors import BadConfig
from clarion_protocol.invite import MAX_TOKEN_BYTES

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HINT = "Run 'clarion hosts invite' on the controller and put the token there, for root only."


@dataclass(frozen=True)
class TokenFile:
    """An open file with a join token; it is a secret, so it goes once it has been used."""

    path: Path
    descriptor: int

    def read(self) -> str:
        """Return what is in it, at most a little more than a token has.

        Raises:
            BadConfig: it cannot be read.
        """
        try:
            return os.pread(self.descriptor, MAX_TOKEN_BYTES + 100, 0).decode("ascii", errors="replace")
        except OSError as error:
            raise _bad(self.path, os.strerror(error.errno or 0)) from error

    def is_shared(self) -> bool:
        """Return whether others than its owner may read it."""
        return bool(stat.S_IMODE(os.fstat(self.descriptor).st_mode) & 0o077)

    def delete(self) -> None:
        """Delete it; harmless where it is gone.

        Raises:
            OSError: it cannot be deleted, or another file lies there now.
        """
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return
        if not os.path.samestat(there, os.fstat(self.descriptor)):
            raise OSError(errno.ESTALE, "another file lies there now")
        self.path.unlink(missing_ok=True)


@contextmanager
def token_file(path: Path) -> Iterator[TokenFile]:
    """Open the token file at `path`.

    Raises:
        BadConfig: there is none, it cannot be opened, or it is no regular file.
    """
    descriptor = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _bad(path, "it is no regular file")
        yield TokenFile(path, descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        why = "it is a symbolic link, no regular file" if is_link else os.strerror(error.errno or 0)
        raise _bad(path, why) from error


def _bad(path: Path, why: str) -> BadConfig:
    return BadConfig(f"{path}: {why}", hint=_HINT)
