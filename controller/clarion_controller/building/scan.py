"""Look at a built tree and list what goes into the package, or say which file cannot."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from clarion_controller.building.source import refuse_unfit
from clarion_protocol.entries import Entry, File, Folder, Link
from clarion_protocol.errors import BadManifest
from clarion_protocol.manifest_rules import MAX_ENTRIES, Kinds, check_config, check_link, check_sizes
from clarion_protocol.package_paths import path_problem


class Found(NamedTuple):
    """One thing in the tree; `target` is a link's, `size` and `mode` are a file's."""

    path: str
    kind: type[Entry]
    size: int = 0
    mode: int = 0
    target: str = ""


def scan(tree: Path, exclude: Sequence[str]) -> list[Found]:
    """Return what lies in `tree`, by path, without what a glob of `exclude` matches.

    Raises:
        BadManifest: names the file that no package may hold, or says that clarion.toml is missing.
    """
    found = sorted(_walk(tree, exclude))
    kinds: Kinds = {"": Folder, **{item.path: item.kind for item in found}}
    check_config(kinds)
    check_sizes([item.size for item in found])
    for item in found:
        if item.kind is Link:
            check_link(item.path, item.target, kinds)
    return found


def is_excluded(path: str, globs: Sequence[str]) -> bool:
    """Return whether a glob matches: the whole path if it holds a "/", the last component otherwise."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path if "/" in glob else name, glob.rstrip("/").removeprefix("/")) for glob in globs)


def _walk(tree: Path, exclude: Sequence[str]) -> Iterator[Found]:
    count = 0
    folders = [""]
    while folders:
        folder = folders.pop()
        for item in _list(tree, folder):
            if is_excluded(item.path, exclude):
                continue
            count += 1
            if count > MAX_ENTRIES:
                raise BadManifest(
                    f"more than {MAX_ENTRIES} files and folders", hint="Leave some out: [build] exclude in clarion.toml"
                )
            if item.kind is Folder:
                folders.append(item.path)
            yield item


def _list(tree: Path, folder: str) -> Iterator[Found]:
    with os.scandir(os.fsencode(tree / folder)) as listing:
        for item in listing:
            path = f"{folder}/{_text(item.name)}" if folder else _text(item.name)
            if problem := path_problem(path):
                raise BadManifest(f"the path {path!r} {problem}", hint="Rename it, or leave it out.")
            yield _look(path, item)


def _look(path: str, item: os.DirEntry[bytes]) -> Found:
    status = item.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        return Found(path, Folder)
    if stat.S_ISLNK(status.st_mode):
        return Found(path, Link, target=_text(os.readlink(item.path)))  # noqa: PTH115  # bytes, no Path
    refuse_unfit(path, status)
    return Found(path, File, size=status.st_size, mode=0o755 if status.st_mode & 0o100 else 0o644)


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadManifest(f"the name {name!r} is not UTF-8", hint="Rename it, or leave it out.") from error
