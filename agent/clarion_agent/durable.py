"""Every way in which the agent changes the disk so that the change survives a power cut.

Rules:
- what a rename exposes is synced before it; the folder that the rename changed, after it;
- a name either has its old content or its new one: nothing is ever unlinked to be replaced;
- a sync that fails is an error like any other: the kernel reports lost writes only there.

Each operation tells `watchers` its name and path just before it happens. The agent has no
watchers; tests count, kill or cut the power there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

watchers: list[Callable[[str, Path], None]] = []

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def write_atomic(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the content of `path`; after a crash it is the old or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    write_new(temporary, content, mode=mode)
    _about_to("rename", path)
    temporary.replace(path)
    fsync_dir(path.parent)


def write_new(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file and sync its content. Its name is durable only once its folder is synced."""
    path.unlink(missing_ok=True)
    _about_to("write", path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        _about_to("fsync", path)
        os.fsync(descriptor)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make `path` and its parents as far as they are missing, durably."""
    if path.is_dir():
        return
    make_folder(path.parent, mode=mode)
    _about_to("mkdir", path)
    path.mkdir(exist_ok=True)
    path.chmod(mode)
    fsync_dir(path.parent)


def remove_file(path: Path) -> None:
    """Remove `path` if it is there, durably."""
    if not os.path.lexists(path):
        return
    _about_to("unlink", path)
    path.unlink()
    fsync_dir(path.parent)


def replace_symlink(link: Path, target: str) -> None:
    """Point `link` to `target` by one rename(2): whoever looks sees the old link or the new one, never none."""
    temporary = link.with_name(f"{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    _about_to("symlink", temporary)
    temporary.symlink_to(target)
    _about_to("rename", link)
    temporary.replace(link)
    fsync_dir(link.parent)


def move_into_place(source: Path, destination: Path) -> None:
    """Rename a folder or file, whose content is synced already, to a name that nobody has yet.

    Raises:
        FileExistsError: somebody has it.
    """
    _about_to("rename", destination)
    _rename_no_replace(source, destination)
    fsync_dir(destination.parent)
    if source.parent != destination.parent:
        fsync_dir(source.parent)


def sync_tree(path: Path) -> None:
    """Wait until everything written to the file system of `path` is on the disk.

    One syncfs(2) costs about as much as writing the data; an fsync for each of 4,000 files
    costs ten times that.

    Raises:
        OSError: something written could not be kept.
    """
    _about_to("syncfs", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            raise _os_error(path)
    finally:
        os.close(descriptor)


def fsync_dir(path: Path) -> None:
    """Wait until the names in the folder `path` are on the disk."""
    _about_to("fsync", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a folder with all it holds, if it is there; no link in it is followed."""
    if not os.path.lexists(path):
        return
    _about_to("rmtree", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # by folder descriptors, so nobody can bend it by swapping a folder for a link
    else:
        path.unlink()


def _about_to(operation: str, path: Path) -> None:
    for watch in watchers:
        watch(operation, path)


def _rename_no_replace(source: Path, destination: Path) -> None:
    if hasattr(_libc, "renameat2"):
        names = (_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(destination))
        if _libc.renameat2(*names, _RENAME_NOREPLACE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
            raise _os_error(destination)
    # A libc or a file system without it. Nobody else writes to our folders, so looking first is enough.
    if os.path.lexists(destination):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
    source.rename(destination)


def _os_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
