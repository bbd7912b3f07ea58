"""Remove what a build has left: whatever modes, depth and links it has, nothing of it is followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it; nothing is there: nothing to do. Nobody else may be writing to it.

    Folders within folders are moved up before they are emptied, so that neither the length of a path, nor the
    number of open files, nor a recursion ends it early.

    Raises:
        OSError: the disk fails, or a file belongs to somebody else.
    """
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        path.unlink()
        return
    top = _open(os.fspath(path), None)
    try:
        _empty(top)
    finally:
        os.close(top)
    path.rmdir()


def _empty(top: int) -> None:
    moved = 0
    while folders := _unlink_files(top):
        for name in folders:
            inner = _open(name, top)
            try:
                for below in _unlink_files(inner):
                    os.close(_open(below, inner))  # a folder that is moved must be writable itself
                    os.rename(below, f".{os.getpid()}-{moved}", src_dir_fd=inner, dst_dir_fd=top)
                    moved += 1
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _unlink_files(folder: int) -> list[str]:
    """Remove all that is no folder from `folder`; return the names of its folders."""
    folders = []
    with os.scandir(folder) as entries:  # never all at once: there may be millions
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders


def _open(name: str, parent: int | None) -> int:
    """Open a folder whatever its mode, which becomes 0700."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101 (a descriptor, not a path)
        return os.open(".", _FOLDER, dir_fd=place)
    finally:
        os.close(place)
