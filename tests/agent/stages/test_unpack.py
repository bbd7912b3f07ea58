"""Unpacking: exactly what the manifest lists, nowhere else, whatever the archive or the folder says."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.effort import examples

from clarion_agent.stages.unpack import Base, unpack
from clarion_agent.tree import differences, intact_files
from clarion_protocol import frames
from clarion_protocol.entries import Entry, File, Folder, Frame, Link, Mode
from clarion_protocol.errors import BadContent, HostError, PackageError
from clarion_protocol.frames import Record
from clarion_protocol.manifest import Archive, Manifest, Totals
from clarion_protocol.ranges import plan

LARGE = bytes(range(256)) * 200
FILES = {
    "bin/run": b"#!/bin/sh\n",
    "clarion.toml": b'[app]\nname = "shop"\n',
    "data/empty": b"",
    "data/large": LARGE,
    "data/small": b"small",
}
LINKS = {"current": "data", "data/run": "../bin/run"}


@dataclass
class Package:
    """An archive and its manifest in memory."""

    archive: bytes
    manifest: Manifest


def pack(files: dict[str, bytes], links: dict[str, str] | None = None) -> Package:
    """Return a package of `files`, laid out like `clarion build` does it."""
    parents = {str(p) for path in (*files, *(links or {})) for p in Path(path).parents if str(p) != "."}
    archive, table, listed = b"", list[Frame](), list[Entry]()
    for group in frames.group_records(file_record(path, data) for path, data in sorted(files.items())):
        content = b""
        for record in group:
            data = files[record.path]
            offset = len(content) + len(record.header)
            listed.append(
                File(record.path, mode(record.path), len(data), hashlib.sha256(data).hexdigest(), len(table), offset)
            )
            content += record.header + data + record.padding
        packed = b"".join(frames.compress([content], len(content)))
        table.append(Frame(len(archive), len(packed), len(content), hashlib.sha256(packed).hexdigest()))
        archive += packed
    listed += [Folder(path) for path in parents]
    listed += [Link(path, target) for path, target in (links or {}).items()]
    manifest = Manifest(
        schema=1,
        app="shop",
        version="1",
        archive=Archive(len(archive), hashlib.sha256(archive).hexdigest()),
        totals=Totals(len(listed), sum(map(len, files.values()))),
        frames=tuple(table),
        entries=tuple(sorted(listed, key=lambda entry: entry.path)),
    )
    return Package(archive, Manifest.parse(manifest.to_bytes()))


def mode(path: str) -> Mode:
    """Return the mode of a file: programs lie in bin."""
    return "0755" if path.startswith("bin/") else "0644"


def file_record(path: str, data: bytes) -> Record:
    """Return the record of a file."""
    return frames.file_record(path, int(mode(path), 8), len(data))


class Host:
    """A folder with releases, and the descriptors that unpacking works with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open: list[int] = []

    def archive(self, data: bytes) -> int:
        """Return a descriptor of an archive."""
        path = self.root / f"archive{len(self.open)}"
        path.write_bytes(data)
        self.open.append(os.open(path, os.O_RDONLY))
        return self.open[-1]

    def release(self, name: str) -> int:
        """Return a descriptor of a new, empty release."""
        (self.root / name).mkdir()
        self.open.append(os.open(self.root / name, os.O_RDONLY | os.O_DIRECTORY))
        return self.open[-1]

    def close(self) -> None:
        """Close all descriptors."""
        for descriptor in self.open:
            os.close(descriptor)
        self.open.clear()

    def outside(self) -> set[str]:
        """Return what lies beside the releases."""
        return {path.name for path in self.root.iterdir() if not path.name.startswith(("archive", "r"))}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Return a host without releases."""
    host = Host(tmp_path)
    yield host
    host.close()


def test_release_is_exactly_what_is_listed(host: Host) -> None:
    """Files, folders and links appear with their content, and nothing else does."""
    package = pack(FILES, LINKS)
    unpack(package.manifest, host.archive(package.archive), host.release("r1"))
    release = host.root / "r1"
    assert {path: (release / path).read_bytes() for path in FILES} == FILES
    assert {path: str((release / path).readlink()) for path in LINKS} == LINKS
    assert {str(path.relative_to(release)) for path in release.rglob("*")} == {*FILES, *LINKS, "bin", "data"}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(host: Host, umask: int) -> None:
    """Files are read-only for everybody, programs executable, folders open, under any umask."""
    package = pack(FILES, LINKS)
    before = os.umask(umask)
    try:
        unpack(package.manifest, host.archive(package.archive), host.release("r1"))
    finally:
        os.umask(before)
    release = host.root / "r1"
    found = {path: stat.S_IMODE((release / path).stat().st_mode) for path in ("bin/run", "data/small", "bin", "data")}
    assert found == {"bin/run": 0o555, "data/small": 0o444, "bin": 0o755, "data": 0o755}


def test_unchanged_files_are_linked(host: Host) -> None:
    """What the old release has is linked; only frames with something new are read."""
    old, new = pack(FILES, LINKS), pack({**FILES, "data/new": b"new", "data/small": b"other"}, LINKS)
    first, second = host.release("r1"), host.release("r2")
    unpack(old.manifest, host.archive(old.archive), first)
    made = plan(new.manifest, intact_files(old.manifest, first), max_gap=0)
    sparse = bytearray(len(new.archive))
    for span in made.spans:
        sparse[span.offset : span.offset + span.length] = new.archive[span.offset : span.offset + span.length]
    assert bytes(sparse) != new.archive
    unpack(new.manifest, host.archive(bytes(sparse)), second, Base(first, made.links))
    assert differences(new.manifest, second) == []
    assert (host.root / "r1/data/large").samefile(host.root / "r2/data/large")
    assert not (host.root / "r1/data/small").samefile(host.root / "r2/data/small")


def test_file_edited_in_place_is_not_linked(host: Host) -> None:
    """An edit in the old release does not slip into the new one: that file is fetched."""
    package = pack(FILES)
    first = host.release("r1")
    unpack(package.manifest, host.archive(package.archive), first)
    edited = host.root / "r1/data/small"
    edited.chmod(0o644)
    edited.write_bytes(b"smaLl")
    edited.chmod(0o444)
    made = plan(package.manifest, intact_files(package.manifest, first))
    assert "data/small" not in made.links
    second = host.release("r2")
    unpack(package.manifest, host.archive(package.archive), second, Base(first, made.links))
    assert differences(package.manifest, second) == []


def test_base_that_changes_meanwhile_is_refused(host: Host) -> None:
    """A file that grows, or changes its mode, between the plan and the link is noticed."""
    package = pack(FILES)
    first = host.release("r1")
    unpack(package.manifest, host.archive(package.archive), first)
    made = plan(package.manifest, intact_files(package.manifest, first))
    (host.root / "r1/data/small").chmod(0o777)
    with pytest.raises(BadContent, match="changed in the old release"):
        unpack(package.manifest, host.archive(package.archive), host.release("r2"), Base(first, made.links))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_file_that_cannot_be_linked_is_copied(host: Host) -> None:
    """An old release on another file system, or an inode with no room for links, costs space but no download."""
    package = pack(FILES, LINKS)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        other = Host(Path(elsewhere))
        first, second = other.release("r1"), host.release("r2")
        unpack(package.manifest, host.archive(package.archive), first)
        made = plan(package.manifest, intact_files(package.manifest, first))
        unpack(package.manifest, host.archive(b""), second, Base(first, made.links))
        assert differences(package.manifest, second) == []
        other.close()


def test_link_in_the_base_is_not_followed(host: Host) -> None:
    """A link that was put where the old release had a file or folder leads nowhere."""
    package = pack(FILES)
    first = host.release("r1")
    unpack(package.manifest, host.archive(package.archive), first)
    (host.root / "secret").write_bytes(b"small")
    (host.root / "r1/data/small").unlink()
    (host.root / "r1/data/small").symlink_to(host.root / "secret")
    with pytest.raises((BadContent, HostError)):
        unpack(package.manifest, host.archive(b""), host.release("r2"), Base(first, {path: path for path in FILES}))


def flipped(data: bytes, position: int) -> bytes:
    """Return `data` with one bit changed."""
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


BAD_ARCHIVES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "an HTML page": lambda data: b"<html>".ljust(len(data), b" "),
    "zeros, as a hole in a file reads": lambda data: bytes(len(data)),
    "the last byte missing": lambda data: data[:-1],
    "half of it": lambda data: data[: len(data) // 2],
    "a bit changed at the start": lambda data: flipped(data, 0),
    "a bit changed in the middle": lambda data: flipped(data, len(data) // 2),
    "a bit changed at the end": lambda data: flipped(data, len(data) - 1),
    "a byte in front": lambda data: b"\0" + data,
    "another package of the same length": lambda data: data[::-1],
}


@pytest.mark.parametrize("damage", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_archive_that_was_not_signed_is_refused(host: Host, damage: Callable[[bytes], bytes]) -> None:
    """Bytes that differ from what was signed are refused before a decompressor sees them."""
    package = pack(FILES, LINKS)
    with pytest.raises(BadContent, match=r"differ from their hash|ends early"):
        unpack(package.manifest, host.archive(damage(package.archive)), host.release("r1"))
    assert host.outside() == set()


def test_frames_in_another_order_are_refused(host: Host) -> None:
    """Each frame is right only in its own place."""
    package = pack(FILES)
    first, second = package.manifest.frames
    swapped = package.archive[second.offset :] + package.archive[: first.length]
    with pytest.raises(BadContent, match="differ from their hash"):
        unpack(package.manifest, host.archive(swapped), host.release("r1"))


def test_bytes_behind_the_archive_are_never_read(host: Host) -> None:
    """A store that sends more than was asked for changes nothing."""
    package = pack(FILES, LINKS)
    release = host.release("r1")
    unpack(package.manifest, host.archive(package.archive + os.urandom(10_000)), release)
    assert differences(package.manifest, release) == []


def lying(package: Package, content: bytes, size: int) -> Manifest:
    """Return a manifest whose only frame holds `content` but is listed with `size`; the archive comes to fit."""
    packed = b"".join(frames.compress([content], len(content)))
    package.archive = packed
    right = hashlib.sha256(content[:9_000]).hexdigest()
    entry = msgspec.structs.replace(package.manifest.files()[0], frame=0, offset=0, size=9_000, sha256=right)
    table = (Frame(0, len(packed), size, hashlib.sha256(packed).hexdigest()),)
    return msgspec.structs.replace(package.manifest, frames=table, entries=(entry,))


@pytest.mark.parametrize(
    ("content", "size"),
    [
        pytest.param(bytes(10**7), 10_000, id="a frame a thousand times larger than listed"),
        pytest.param(bytes(10_001), 10_000, id="a frame a byte larger than listed"),
        pytest.param(bytes(9_999), 10_000, id="a frame a byte smaller than listed"),
        pytest.param(b"", 10_000, id="an empty frame"),
    ],
)
def test_frame_of_another_size_is_refused(host: Host, content: bytes, size: int) -> None:
    """A builder that lies about a frame's size is stopped at the listed size."""
    package = pack({"clarion.toml": b"x"})
    manifest = lying(package, content, size)
    with pytest.raises(BadContent):
        unpack(manifest, host.archive(package.archive), host.release("r1"))
    written = host.root / "r1/clarion.toml"
    assert not written.exists() or written.stat().st_size <= 10_000


def test_swapped_contents_are_refused(host: Host) -> None:
    """Two files whose places are swapped in the manifest do not get each other's content."""
    package = pack({"a": b"first", "b": b"other", "clarion.toml": b""})
    first, second, config = package.manifest.files()
    swapped = (
        msgspec.structs.replace(first, offset=second.offset),
        msgspec.structs.replace(second, offset=first.offset),
        config,
    )
    with pytest.raises(BadContent, match="differs from its hash"):
        unpack(
            msgspec.structs.replace(package.manifest, entries=swapped),
            host.archive(package.archive),
            host.release("r1"),
        )


def entries(*items: Entry) -> Manifest:
    """Return a manifest that was never checked, with `items` and files whose data is in the archive of `FILES`."""
    return msgspec.structs.replace(pack(FILES).manifest, entries=items)


def some_file(path: str) -> File:
    """Return a listed file at any path; it is empty, so that it needs no archive."""
    return File(path, "0644", 0, hashlib.sha256(b"").hexdigest(), 0, 512)


UNCHECKED: dict[str, Manifest] = {
    "a file over a file": entries(some_file("a"), some_file("a")),
    "a file over a folder": entries(Folder("a"), some_file("a")),
    "a file in a file": entries(some_file("a"), some_file("a/b")),
    "a file in a folder that is not listed": entries(some_file("a/b")),
    "a link over a file": entries(some_file("a"), Link("a", "b")),
    "a folder twice": entries(Folder("a"), Folder("a")),
}


@pytest.mark.parametrize("manifest", UNCHECKED.values(), ids=UNCHECKED)
def test_writing_is_strict_even_without_the_checks(host: Host, manifest: Manifest) -> None:
    """Should a rule of the manifest ever be lost, writing still makes everything new and follows nothing."""
    with pytest.raises((HostError, PackageError)):
        unpack(manifest, host.archive(pack(FILES).archive), host.release("r1"))
    assert host.outside() == set()


@pytest.mark.parametrize("planted", ["data", "data/small", "clarion.toml", "current"])
def test_planted_link_is_not_followed(host: Host, planted: str) -> None:
    """A link that somebody put into the new release beforehand is never written through."""
    package = pack(FILES, LINKS)
    release = host.release("r1")
    victim = host.root / "victim"
    victim.mkdir()
    if "/" in planted:
        (host.root / "r1/data").mkdir()
    (host.root / "r1" / planted).symlink_to(victim)
    with pytest.raises(HostError):
        unpack(package.manifest, host.archive(package.archive), release)
    assert list(victim.iterdir()) == []


ON_A_SMALL_DISK = """
import os, subprocess, sys
from clarion_agent.stages.unpack import unpack
from clarion_protocol.errors import NoSpace
from clarion_protocol.manifest import Manifest
manifest, archive, release = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", release], check=True)
try:
    unpack(
        Manifest.parse(open(manifest, "rb").read()),
        os.open(archive, os.O_RDONLY),
        os.open(release, os.O_RDONLY | os.O_DIRECTORY),
    )
except NoSpace as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_full_disk_says_so(tmp_path: Path) -> None:
    """A full disk is told apart from other faults of the host."""
    package = pack({**FILES, "more": os.urandom(100_000)})
    (tmp_path / "manifest").write_bytes(package.manifest.to_bytes())
    (tmp_path / "archive").write_bytes(package.archive)
    (tmp_path / "release").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", ON_A_SMALL_DISK, "manifest", "archive", "release"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "the disk filled up" in done.stdout


def test_disk_that_refuses_is_the_hosts_fault(host: Host) -> None:
    """A folder that is gone is an error of this host, not of the package."""
    package = pack(FILES)
    release = host.release("r1")
    (host.root / "r1").rmdir()
    with pytest.raises(HostError, match="cannot be written"):
        unpack(package.manifest, host.archive(package.archive), release)


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=4)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=40_000), max_size=12)


def without_conflicts(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files that do not lie in another file."""
    return {path: data for path, data in files.items() if not any(str(p) in files for p in Path(path).parents)}


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TREES, TREES)
def test_any_two_releases_come_out_right(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    """Any release on top of any other, shared files linked and the rest fetched, is what was packed."""
    config = {"clarion.toml": b""}
    before, after = pack(without_conflicts(old) | config), pack(without_conflicts(old | new) | config)
    host = Host(tmp_path_factory.mktemp("host"))
    try:
        first, second = host.release("r1"), host.release("r2")
        unpack(before.manifest, host.archive(before.archive), first)
        made = plan(after.manifest, intact_files(before.manifest, first), max_gap=0)
        sparse = bytearray(len(after.archive))
        for span in made.spans:
            sparse[span.offset : span.offset + span.length] = after.archive[span.offset : span.offset + span.length]
        unpack(after.manifest, host.archive(bytes(sparse)), second, Base(first, made.links))
        assert differences(after.manifest, second) == []
        assert differences(before.manifest, first) == []
    finally:
        host.close()
