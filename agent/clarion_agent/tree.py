"""A release's tree on disk, reached from one folder descriptor; no link is ever followed.

`differences` compares a tree with its manifest: for drift, before a roll back, and to
know which files of the old release are fit to be linked into the new one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from clarion_protocol.entries import Entry, File, Folder, Link
from clarion_protocol.manifest import Manifest
from clarion_protocol.package_paths import parent_of

CHUNK = 256 * 1024
OPEN_FOLDERS = 32
# Read-only even for the owner: links to one inode are shared by releases, and an edit in
# one would be an edit in all.
MODES = {"0644": 0o444, "0755": 0o555}

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folders:
    """Descriptors of a tree's folders, opened one component at a time; a few stay open."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def at(self, path: str) -> int:
        """Return the descriptor of the folder `path`, "" being the tree itself; it may close at the next call.

        Raises:
            OSError: there is no such folder, or a link stands in the way.
        """
        if not path:
            return self._root
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        descriptor = os.open(path.rpartition("/")[2], _FOLDER, dir_fd=self.at(parent_of(path)))
        self._open[path] = descriptor
        if len(self._open) > OPEN_FOLDERS:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def parent(self, path: str) -> tuple[int, str]:
        """Return the descriptor of the folder that `path` lies in, and its name there."""
        return self.at(parent_of(path)), path.rpartition("/")[2]


class Difference(NamedTuple):
    """One path that is not as the manifest says, and how: "missing", "extra", "changed"."""

    path: str
    kind: str


def differences(manifest: Manifest, root: int) -> list[Difference]:
    """Return how the tree at the descriptor `root` differs from `manifest`, by path; reads every file.

    Raises:
        OSError: a folder cannot be listed.
    """
    expected = {entry.path: entry for entry in manifest.entries}
    found: list[Difference] = []
    with Folders(root) as folders:
        present = set(_walk(folders, expected))
        found += [Difference(path, "extra") for path in present if path not in expected]
        found += [Difference(path, "missing") for path in expected if path not in present]
        found += [
            Difference(path, "changed") for path in present if path in expected and not _is_as(folders, expected[path])
        ]
    return sorted(found)


def intact_files(manifest: Manifest, root: int) -> list[File]:
    """Return those files of `manifest` that lie at `root` exactly as it says.

    Costs one read of the tree: about 0.8 s for 450 MB in 28,000 files, 10 ms for 11 MB. It
    is worth it: without it, a file that somebody edited in place would silently become part of a new release.
    """
    with Folders(root) as folders:
        return [file for file in manifest.files() if _is_as(folders, file)]


def hash_of(descriptor: int) -> str:
    """Return the sha256 of the open file's content."""
    digest = hashlib.sha256()
    while data := os.read(descriptor, CHUNK):
        digest.update(data)
    return digest.hexdigest()


def _walk(folders: Folders, expected: dict[str, Entry]) -> Iterator[str]:
    """Yield every path of the tree; what is not expected is named but not entered."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folders.at(folder)) as listing:
            names = [(item.name, item.is_dir(follow_symlinks=False)) for item in listing]
        for name, is_folder in names:
            path = f"{folder}/{name}" if folder else name
            if is_folder and isinstance(expected.get(path), Folder):
                waiting.append(path)
            yield path


def _is_as(folders: Folders, entry: Entry) -> bool:
    try:
        folder, name = folders.parent(entry.path)
        if isinstance(entry, Link):
            return os.readlink(name, dir_fd=folder) == entry.target
        if isinstance(entry, File):
            return _is_file_as(folder, name, entry)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    except OSError:
        return False  # missing, a link in the way, or a disk that cannot read it: not as it should be


def _is_file_as(folder: int, name: str, file: File) -> bool:
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        return (
            status.st_mode == stat.S_IFREG | MODES[file.mode]
            and status.st_size == file.size
            and hash_of(descriptor) == file.sha256
        )
    finally:
        os.close(descriptor)
