"""Comparing: an archive that differs anywhere from its manifest is never published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clarion_controller.building.compare import check_package
from clarion_controller.building.pack import pack
from clarion_controller.building.scan import scan
from clarion_protocol import frames
from clarion_protocol.entries import File, Frame
from clarion_protocol.errors import BadConfig, BadContent, ClarionError
from clarion_protocol.manifest import Archive, Manifest

Package = tuple[Path, Manifest]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """Return an archive with small and large files, a folder and a link, and its manifest."""
    tree = tmp_path / "tree"
    (tree / "data").mkdir(parents=True)
    (tree / "clarion.toml").write_text('[app]\nname = "shop"\n')
    (tree / "data/large").write_bytes(bytes(range(256)) * 100)
    (tree / "data/odd").write_bytes(b"x" * 700)
    (tree / "link").symlink_to("data/odd")
    archive = tmp_path / "archive"
    with archive.open("wb") as file:
        return archive, pack(tree, scan(tree, []), file, "shop", "1")


def contents(package: Package) -> list[bytes]:
    """Return the decompressed content of each frame."""
    data = package[0].read_bytes()
    return [
        b"".join(frames.decompress([data[frame.offset : frame.offset + frame.length]], frame.size))
        for frame in package[1].frames
    ]


def repacked(package: Package, pieces: list[bytes]) -> Package:
    """Return the package with other frames, and a manifest that admits their lengths and hashes."""
    packed = [b"".join(frames.compress([piece], len(piece))) for piece in pieces]
    offset, table = 0, []
    for piece, data in zip(pieces, packed, strict=True):
        table.append(Frame(offset, len(data), len(piece), hashlib.sha256(data).hexdigest()))
        offset += len(data)
    whole = b"".join(packed)
    package[0].write_bytes(whole)
    archive = Archive(len(whole), hashlib.sha256(whole).hexdigest())
    return package[0], msgspec.structs.replace(package[1], frames=tuple(table), archive=archive)


def replaced(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Return what replaces `old` by `new` in the frame where it stands."""
    return lambda pieces: [piece.replace(old, new, 1) for piece in pieces]


HIDDEN = frames.file_record("etc/cron.d/evil", 0o644, 0).header

TAMPERED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "a changed byte of a file": (replaced(b"shop", b"shoP"), "'clarion.toml' differs from its hash"),
    "a changed byte of a large file": (replaced(b"\x00\x01\x02", b"\x00\x01\x03"), "'data/large' differs"),
    "a changed byte of a header": (replaced(b"0000644", b"0004755"), "the header of"),
    "a changed owner": (replaced(b"0000000\x000000000", b"0000001\x000000001"), "the header of"),
    "something in the padding": (replaced(b"x" * 700 + b"\0", b"x" * 700 + b"!"), "the padding of 'data/odd'"),
    "a changed target of a link": (replaced(b"data/odd\0", b"data/bad\0"), "differs from the manifest"),
    "a file that is not listed": (lambda pieces: [*pieces[:-1], HIDDEN, pieces[-1]], "the end of the archive differs"),
    "a file behind the end": (lambda pieces: [*pieces, HIDDEN], "goes on after its end"),
    "a second archive behind the first": (lambda pieces: [*pieces, *pieces], "goes on after its end"),
    "zeros behind the end": (lambda pieces: [*pieces, bytes(512)], "goes on after its end"),
    "no end": (lambda pieces: pieces[:-1], "ends early"),
    "frames in another order": (lambda pieces: [pieces[1], pieces[0], *pieces[2:]], "differs|not where"),
    "a frame twice": (lambda pieces: [pieces[0], *pieces], "differs"),
    "a frame left out": (lambda pieces: pieces[1:], "differs|ends early"),
    "a file that is moved to the frame before": (
        lambda pieces: [pieces[0] + pieces[1], *pieces[2:]],
        "not where the manifest says",
    ),
}


def test_honest_package_passes(package: Package) -> None:
    """A package passes as it was built, and as it was packed again from the same frames."""
    check_package(*package)
    check_package(*repacked(package, contents(package)))


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_difference_is_found(package: Package, tamper: Callable[[list[bytes]], list[bytes]], message: str) -> None:
    """Whatever `tar` would write differently from the manifest is found, though all hashes of frames are right."""
    pieces = contents(package)
    assert tamper(pieces) != pieces
    with pytest.raises(BadContent, match=message):
        check_package(*repacked(package, tamper(pieces)))


def test_every_damaged_byte_is_found(package: Package) -> None:
    """No byte of an archive can change unseen."""
    archive, manifest = package
    whole = archive.read_bytes()
    for position in range(0, len(whole), 7):
        archive.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(BadContent):
            check_package(archive, manifest)


def of_app(tmp_path: Path, config: bytes, app: str = "shop") -> Package:
    """Return a package whose manifest says `app` and whose clarion.toml is `config`."""
    tree = tmp_path / "other"
    tree.mkdir()
    (tree / "clarion.toml").write_bytes(config)
    archive = tmp_path / "other.tar.zst"
    with archive.open("wb") as file:
        return archive, pack(tree, scan(tree, []), file, app, "1")


UNFIT: dict[str, tuple[bytes, type[ClarionError], str]] = {
    "another app": (b'[app]\nname = "blog"\n', BadContent, "manifest is of shop, but clarion.toml .* that of blog"),
    "no app": (b"[build]\n", BadConfig, "clarion.toml in the package"),
    "no text": (b"\xff\xfe", BadContent, "no text"),
    "no end": (b"#" * 300_000, BadConfig, "larger than 64 KiB"),
}


@pytest.mark.parametrize(("config", "error", "message"), UNFIT.values(), ids=UNFIT)
def test_a_clarion_toml_that_hosts_would_refuse_is_found(
    tmp_path: Path, config: bytes, error: type[ClarionError], message: str
) -> None:
    """The app's own key signs only packages of that app; here, and not first on every host."""
    with pytest.raises(error, match=message):
        check_package(*of_app(tmp_path, config))


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_cut_archive_is_refused(package: Package, cut: int) -> None:
    """An archive that ends early is refused wherever it ends."""
    archive, manifest = package
    archive.write_bytes(archive.read_bytes()[:-1][: None if cut == 1 else cut])
    with pytest.raises(BadContent):
        check_package(archive, manifest)


def test_bytes_behind_the_archive_are_refused(package: Package) -> None:
    """Nothing follows the last frame."""
    archive, manifest = package
    with archive.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BadContent, match="goes on after its last frame"):
        check_package(archive, manifest)


def test_listed_hash_of_the_archive_must_be_its_own(package: Package) -> None:
    """The manifest names the archive it belongs to."""
    archive, manifest = package
    other = msgspec.structs.replace(manifest, archive=Archive(manifest.archive.length, "0" * 64))
    with pytest.raises(BadContent, match="the archive differs from its hash"):
        check_package(archive, other)


def test_listed_mode_must_be_the_archives(package: Package) -> None:
    """A manifest that lists another mode than the archive has is refused."""
    archive, manifest = package
    entries = tuple(
        msgspec.structs.replace(entry, mode="0755") if isinstance(entry, File) else entry for entry in manifest.entries
    )
    with pytest.raises(BadContent, match="the header of"):
        check_package(archive, msgspec.structs.replace(manifest, entries=entries))
