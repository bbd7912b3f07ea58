"""Root in a folder of somebody else's, with no more rights there than the owner has."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Within, root's thread opens and makes files as the owner of `folder` would; nothing changes for anybody else.

    So a link that the owner has laid leads to nothing that the owner could not have had. See setfsuid(2).
    """
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    os.setgroups([])  # root has no use for any, and sudo's root is in its own: it would read what root's group may
    system = ctypes.CDLL(None)
    group, user = system.setfsgid(owner.st_gid), system.setfsuid(owner.st_uid)
    try:
        yield
    finally:
        system.setfsuid(user)
        system.setfsgid(group)


def open_as_owner_of(folder: Path, path: Path) -> BinaryIO:
    """Open a plain file for reading as the owner of `folder` would; a pipe there keeps nobody waiting.

    Raises:
        OSError: the owner could not, or it is no plain file.
    """
    with as_owner_of(folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(descriptor, "rb")
