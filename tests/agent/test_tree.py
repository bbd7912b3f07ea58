"""A tree on disk against its manifest: every difference is found, and nothing outside is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clarion_agent.tree import OPEN_FOLDERS, Difference, Folders, differences, intact_files
from clarion_protocol.entries import Entry, File, Folder, Link
from clarion_protocol.manifest import Archive, Manifest, Totals


def listed(path: str, data: bytes) -> File:
    """Return the listing of a file."""
    return File(path, "0644", len(data), hashlib.sha256(data).hexdigest(), 0, 512)


ENTRIES: tuple[Entry, ...] = (
    listed("clarion.toml", b"config"),
    Folder("data"),
    listed("data/file", b"content"),
    Folder("data/sub"),
    listed("data/sub/deep", b"deep"),
    Link("link", "data/file"),
)
MANIFEST = Manifest(1, "shop", "1", Archive(1, "0" * 64), Totals(6, 17), (), ENTRIES)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a release as the manifest lists it."""
    root = tmp_path / "release"
    (root / "data/sub").mkdir(parents=True)
    for path, data in (("clarion.toml", b"config"), ("data/file", b"content"), ("data/sub/deep", b"deep")):
        (root / path).write_bytes(data)
        (root / path).chmod(0o444)
    (root / "link").symlink_to("data/file")
    for folder in (root, root / "data", root / "data/sub"):
        folder.chmod(0o755)
    return root


@pytest.fixture
def root(release: Path) -> Iterator[int]:
    """Return the release's descriptor."""
    descriptor = os.open(release, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def open_descriptors() -> int:
    """Return how many descriptors this process holds."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def rewrite(path: Path, data: bytes) -> None:
    """Change a file in place, as somebody in a hurry would."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def replace_by_link(path: Path, target: str) -> None:
    """Put a link where a file was."""
    path.unlink()
    path.symlink_to(target)


def copy_of(path: Path) -> Path:
    """Return an exact copy of a file, outside the release."""
    return Path(shutil.copy(path, path.parents[2] / "copy"))


def replace_folder_by_link(release: Path) -> None:
    """Move a folder out and put a link to it in its place."""
    (release / "data").rename(release.parent / "moved")
    (release / "data").symlink_to(release.parent / "moved")


def replace_by_pipe(path: Path) -> None:
    """Put a named pipe where a file was; opening one could wait for ever."""
    path.unlink()
    os.mkfifo(path, 0o444)


DRIFT: dict[str, tuple[Callable[[Path], object], list[Difference]]] = {
    "nothing": (lambda _: None, []),
    "a changed byte": (lambda at: rewrite(at / "data/file", b"c0ntent"), [Difference("data/file", "changed")]),
    "a longer file": (lambda at: rewrite(at / "data/file", b"content+"), [Difference("data/file", "changed")]),
    "a writable file": (lambda at: (at / "data/file").chmod(0o644), [Difference("data/file", "changed")]),
    "a setuid bit": (lambda at: (at / "data/file").chmod(0o4444), [Difference("data/file", "changed")]),
    "a folder that others may write": (lambda at: (at / "data").chmod(0o777), [Difference("data", "changed")]),
    "a missing file": (lambda at: (at / "data/file").unlink(), [Difference("data/file", "missing")]),
    "one file more": (lambda at: (at / "data/new").touch(), [Difference("data/new", "extra")]),
    "one folder more": (lambda at: (at / "cache").mkdir(), [Difference("cache", "extra")]),
    "a file with a strange name": (lambda at: (at / "\udcff").touch(), [Difference("\udcff", "extra")]),
    "a link to elsewhere": (lambda at: replace_by_link(at / "link", "/etc"), [Difference("link", "changed")]),
    "a link for a file": (
        lambda at: replace_by_link(at / "data/file", str(copy_of(at / "data/file"))),
        [Difference("data/file", "changed")],
    ),
    "a named pipe for a file": (lambda at: replace_by_pipe(at / "data/file"), [Difference("data/file", "changed")]),
    "a link for a folder": (
        replace_folder_by_link,
        [
            Difference("data", "changed"),
            Difference("data/file", "missing"),
            Difference("data/sub", "missing"),
            Difference("data/sub/deep", "missing"),
        ],
    ),
}


@pytest.mark.parametrize(("drift", "found"), DRIFT.values(), ids=DRIFT)
def test_drift_is_found(release: Path, root: int, drift: Callable[[Path], object], found: list[Difference]) -> None:
    """Each way in which a release can drift is told by path and kind."""
    drift(release)
    assert differences(MANIFEST, root) == found


@pytest.mark.parametrize(("drift", "found"), DRIFT.values(), ids=DRIFT)
def test_only_intact_files_are_fit_to_be_linked(
    release: Path, root: int, drift: Callable[[Path], object], found: list[Difference]
) -> None:
    """A file that differs, or cannot be reached without following a link, is left out."""
    drift(release)
    broken = {difference.path for difference in found}
    whole = [entry.path for entry in ENTRIES if isinstance(entry, File) and entry.path not in broken]
    assert [file.path for file in intact_files(MANIFEST, root)] == whole


def test_few_folders_stay_open(tmp_path: Path) -> None:
    """However many folders a tree has, few descriptors are held, and all are closed at the end."""
    for number in range(3 * OPEN_FOLDERS):
        (tmp_path / f"{number}/sub").mkdir(parents=True)
    before = open_descriptors()
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with Folders(descriptor) as folders:
        for number in range(3 * OPEN_FOLDERS):
            assert os.path.samestat(os.fstat(folders.at(f"{number}/sub")), (tmp_path / f"{number}/sub").stat())
        assert open_descriptors() <= before + 1 + OPEN_FOLDERS + 1
    os.close(descriptor)
    assert open_descriptors() == before


def test_no_link_is_followed_on_the_way(tmp_path: Path) -> None:
    """A folder is reached through folders only."""
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with Folders(descriptor) as folders, pytest.raises(NotADirectoryError):
        folders.at("link/sub")
    os.close(descriptor)
