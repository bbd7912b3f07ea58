"""The rules of a manifest that no schema can say; each function checks one group of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clarion_protocol.amounts import Size
from clarion_protocol.app_config import FILE_NAME
from clarion_protocol.entries import Entry, File, Folder, Frame, Link
from clarion_protocol.errors import BadManifest
from clarion_protocol.package_paths import link_problem, parent_of, path_problem, resolve

if TYPE_CHECKING:
    from clarion_protocol.manifest import Manifest

MAX_ENTRIES = 50_000
MAX_UNPACKED_BYTES = 16 * 2**30
MAX_FILE_BYTES = 8 * 2**30 - 1  # what the size field of a tar header can say
# Real programs compress 2:1 to 30:1; what is worth 500:1 is a bomb or a file of zeros.
MAX_RATIO = 500
RATIO_SLACK = 2**20  # so that a short log file or a blank image is no bomb

_LEAVE_OUT = "Leave some out: [build] exclude in clarion.toml."

Kinds = dict[str, type[Entry]]


def check_tree(entries: Sequence[Entry]) -> None:
    """Check names, order, parents and links.

    Raises:
        BadManifest: names the first entry that breaks a rule.
    """
    if len(entries) > MAX_ENTRIES:
        raise BadManifest(f"{len(entries)} entries, more than {MAX_ENTRIES}", hint=_LEAVE_OUT)
    kinds: Kinds = {"": Folder}
    before = ""
    for entry in entries:
        _check_entry(entry, before, kinds)
        kinds[entry.path] = type(entry)
        before = entry.path
    check_config(kinds)
    for entry in entries:
        if isinstance(entry, Link):
            check_link(entry.path, entry.target, kinds)


def check_config(kinds: Kinds) -> None:
    """Check that the package says how it is to be run.

    Raises:
        BadManifest: there is no clarion.toml.
    """
    if kinds.get(FILE_NAME) is not File:
        raise BadManifest(f"the package has no {FILE_NAME}", hint="It must be a plain file that is not excluded.")


def check_link(path: str, target: str, kinds: Kinds) -> None:
    """Check that the link at `path` leads to a file or folder; `kinds` says what every path is.

    Raises:
        BadManifest: it leads out, nowhere, or to another link.
    """
    if problem := link_problem(path, target):
        raise BadManifest(f"{path!r} is a link to {target!r}, which {problem}")
    found = kinds.get(resolve(path, target))
    if found is None:
        raise BadManifest(f"{path!r} is a link to {target!r}, which is not in the package")
    if found is Link:
        raise BadManifest(f"{path!r} is a link to {target!r}, which is itself a link", hint="Point it at the file.")


def check_frames(frames: Sequence[Frame], archive_length: int) -> None:
    """Check that the frames fill the archive without gap or overlap, and that none is a bomb.

    Raises:
        BadManifest: names the first frame that breaks a rule.
    """
    end = 0
    for number, frame in enumerate(frames):
        if frame.offset != end or not frame.length or not frame.size:
            raise BadManifest(f"frame {number} does not follow the one before it")
        if is_bomb(frame.length, frame.size):
            raise BadManifest(f"frame {number} grows from {frame.length} to {frame.size} bytes, like a bomb")
        end += frame.length
    if end != archive_length:
        raise BadManifest(f"the frames are {end} bytes, the archive {archive_length}")


def check_slices(files: Iterable[File], frames: Sequence[Frame]) -> None:
    """Check that every file's data lies inside its frame and no two share a byte.

    Raises:
        BadManifest: names the first file that breaks a rule.
    """
    place = (-1, 0)
    for file in sorted(files, key=lambda file: (file.frame, file.offset, file.path)):
        if file.frame >= len(frames) or file.offset + file.size > frames[file.frame].size:
            raise BadManifest(f"{file.path!r} lies outside its frame")
        if (file.frame, file.offset) < place:
            raise BadManifest(f"{file.path!r} overlaps another file")
        place = (file.frame, file.offset + file.size)


def check_totals(manifest: Manifest) -> None:
    """Check the sums, and the limits that hold for the package as a whole.

    Raises:
        BadManifest: a sum differs or is over its limit.
    """
    sizes = [file.size for file in manifest.files()]
    unpacked = sum(sizes)
    if (manifest.totals.entries, manifest.totals.unpacked) != (len(manifest.entries), unpacked):
        raise BadManifest("the totals are not the sums of the entries")
    check_sizes(sizes)
    if is_bomb(manifest.archive.length, unpacked):
        raise BadManifest(f"{manifest.archive.length} bytes would grow to {unpacked}, like a bomb")


def check_sizes(sizes: Sequence[int]) -> None:
    """Check the sizes of all files together.

    Raises:
        BadManifest: one or their sum is more than a package may hold.
    """
    if sum(sizes) > MAX_UNPACKED_BYTES:
        raise BadManifest(f"{Size(sum(sizes))} in files, more than {Size(MAX_UNPACKED_BYTES)}", hint=_LEAVE_OUT)
    if max(sizes, default=0) > MAX_FILE_BYTES:
        raise BadManifest(f"a file of {Size(max(sizes))}, more than {Size(MAX_FILE_BYTES)}", hint=_LEAVE_OUT)


def is_bomb(compressed: int, size: int) -> bool:
    """Return whether so few bytes become so many."""
    return size > compressed * MAX_RATIO + RATIO_SLACK


def _check_entry(entry: Entry, before: str, kinds: Kinds) -> None:
    path = entry.path
    if problem := path_problem(path):
        raise BadManifest(f"the path {path[:200]!r} {problem}")
    if path <= before:
        raise BadManifest(f"{path!r} stands twice" if path == before else f"{path!r} is out of order")
    parent = kinds.get(parent_of(path))
    if parent is None:
        raise BadManifest(f"the folder of {path!r} is not in the package")
    if parent is not Folder:
        raise BadManifest(f"{path!r} lies in a {parent.__name__.lower()}, not in a folder")
