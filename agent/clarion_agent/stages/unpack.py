"""Write a release's tree from its manifest, the fetched parts of its archive, and the old release.

- Nothing is named by the archive: every name, size and place comes from the manifest.
- Each frame is hashed before it is decompressed, each file while it is written.
- Everything is made new (`O_EXCL`), reached from one descriptor, no link followed
  (`O_NOFOLLOW`); links of the package are made last.
- What the old release has is hard-linked from it; the caller has verified it (`tree.intact_files`).

Nothing here is synced: the caller does that once, for the whole tree. To undo, remove the folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from clarion_agent.tree import CHUNK, MODES, Folders
from clarion_protocol.entries import File, Folder, Frame, Link
from clarion_protocol.errors import BadContent, HostError, NoSpace
from clarion_protocol.frames import decompress
from clarion_protocol.manifest import Manifest
from clarion_protocol.tape import Tape

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINK_POSSIBLE = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Base:
    """The old release: a descriptor of its folder, and which new paths are linked from which of its paths."""

    folder: int
    links: Mapping[str, str] = field(default_factory=dict)


def unpack(manifest: Manifest, archive: int, destination: int, base: Base | None = None) -> None:
    """Write the release of `manifest` into the empty folder `destination`.

    `archive` is a descriptor of the archive; of it, only the frames that hold files which
    `base` does not link need to be there. Both others are folder descriptors.

    Raises:
        BadContent: the archive or the old release differs from what the manifest says.
        NoSpace: the disk is full.
        HostError: the disk refuses in another way.
    """
    try:
        with ExitStack() as stack:
            folders = stack.enter_context(Folders(destination))
            _make_folders(folders, manifest.folders())
            links = base.links if base else {}
            for frame, files in _by_frame(manifest, links):
                _write_frame(folders, archive, frame, files)
            if base:
                _link_files(folders, stack.enter_context(Folders(base.folder)), manifest, links)
            _make_links(folders, manifest.links())
    except OSError as error:
        raise _explain(error) from error


def _make_folders(folders: Folders, entries: Sequence[Folder]) -> None:
    for entry in entries:
        parent, name = folders.parent(entry.path)
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fchmod(folders.at(entry.path), 0o755)  # whatever the umask says


def _by_frame(manifest: Manifest, links: Mapping[str, str]) -> Iterator[tuple[Frame | None, list[File]]]:
    """Yield the files that come from the archive, each frame once; empty files need none."""
    wanted: dict[int, list[File]] = {}
    empty: list[File] = []
    for file in manifest.files():
        if file.size == 0:
            empty.append(file)
        elif file.path not in links:
            wanted.setdefault(file.frame, []).append(file)
    yield None, empty
    for number in sorted(wanted):
        yield manifest.frames[number], sorted(wanted[number], key=lambda file: file.offset)


def _write_frame(folders: Folders, archive: int, frame: Frame | None, files: Sequence[File]) -> None:
    tape = Tape(_open_frame(archive, frame) if frame else ())
    for file in files:
        if file.size:
            tape.skip_to(file.offset)
        _write_file(folders, file, tape)
    if frame:
        tape.skip_to(frame.size)
        tape.expect_end()


def _open_frame(archive: int, frame: Frame) -> Iterator[bytes]:
    """Return the frame's content, once its hash has been checked: no decompressor sees unsigned bytes."""
    # Read once if it is small, as nearly all are; a large one must not fill the memory.
    kept = list(_read_frame(archive, frame)) if frame.length <= CHUNK else None
    digest = hashlib.sha256()
    for piece in kept or _read_frame(archive, frame):
        digest.update(piece)
    if digest.hexdigest() != frame.sha256:
        raise BadContent(f"the archive's bytes {frame.offset} to {frame.offset + frame.length} differ from their hash")
    return decompress(kept or _read_frame(archive, frame), frame.size)


def _read_frame(archive: int, frame: Frame) -> Iterator[bytes]:
    position, end = frame.offset, frame.offset + frame.length
    while position < end:
        piece = os.pread(archive, min(end - position, CHUNK), position)
        if not piece:
            raise BadContent("the archive ends early")
        position += len(piece)
        yield piece


def _write_file(folders: Folders, file: File, tape: Tape) -> None:
    folder, name = folders.parent(file.path)
    descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
    try:
        digest = hashlib.sha256()
        for piece in tape.take(file.size):
            digest.update(piece)
            _write_all(descriptor, piece)
        if digest.hexdigest() != file.sha256:
            raise BadContent(f"{file.path!r} differs from its hash")
        os.fchmod(descriptor, MODES[file.mode])
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _link_files(folders: Folders, old: Folders, manifest: Manifest, links: Mapping[str, str]) -> None:
    for file in manifest.files():
        if file.path not in links:
            continue
        source, destination = old.parent(links[file.path]), folders.parent(file.path)
        try:
            os.link(source[1], destination[1], src_dir_fd=source[0], dst_dir_fd=destination[0], follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK_POSSIBLE:
                raise
            _copy_file(folders, file, *source)
        _check_linked(file, *destination)


def _copy_file(folders: Folders, file: File, folder: int, name: str) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        _write_file(folders, file, Tape(iter(lambda: os.read(descriptor, CHUNK), b"")))
    finally:
        os.close(descriptor)


def _check_linked(file: File, folder: int, name: str) -> None:
    """Check what can be seen without reading: the content was verified moments ago."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (status.st_mode, status.st_size) != (stat.S_IFREG | MODES[file.mode], file.size):
        raise BadContent(f"{file.path!r} changed in the old release while it was linked")


def _make_links(folders: Folders, links: Sequence[Link]) -> None:
    for link in links:
        folder, name = folders.parent(link.path)
        os.symlink(link.target, name, dir_fd=folder)


def _explain(error: OSError) -> HostError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("the disk filled up while the release was written", hint="Run: df -h; df -i")
    return HostError(f"the release cannot be written: {error}")
