"""The manifest's file: small, the same each time, and never decompressed beyond what was signed."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from clarion_protocol import frames
from clarion_protocol.entries import File, Frame
from clarion_protocol.errors import BadContent, BadEnvelope, BadManifest
from clarion_protocol.manifest import MAX_MANIFEST_BYTES, Archive, Manifest, Totals
from clarion_protocol.manifest_file import read_manifest, reference_to, write_manifest
from clarion_protocol.manifest_index import read_index, write_index
from clarion_protocol.manifest_pages import write_pages
from clarion_protocol.published import MAX_MANIFEST_FILE_BYTES, ManifestRef, package_path, read_release
from clarion_protocol.zstd import CompressionParameter, ZstdCompressor, ZstdDecompressor


def manifest_of(count: int) -> Manifest:
    """Return the manifest of a package of `count` files, all in one frame."""
    names = sorted(["clarion.toml", *(f"module_{number:05}.py" for number in range(count - 1))])
    files = tuple(
        File(name, "0644", 10, hashlib.sha256(name.encode()).hexdigest(), 0, 512 + 1024 * number)
        for number, name in enumerate(names)
    )
    frame = Frame(0, 500 * count, 1024 * count, "ab" * 32)
    return Manifest(1, "shop", "1", Archive(frame.length, "cd" * 32), Totals(count, 10 * count), (frame,), files)


PACKED = write_manifest(manifest_of(30))
SIGNED = reference_to(PACKED)


def frame_of(content: bytes, *, says_size: bool = True) -> bytes:
    """Return one frame of `content`, which may keep its size to itself."""
    compressor = ZstdCompressor(options={CompressionParameter.content_size_flag: int(says_size)})
    return bytes(compressor.compress(content) + compressor.flush())


def test_a_manifest_comes_back_as_it_was() -> None:
    """What is signed of the file are its length, its hash, and how large it becomes."""
    assert read_manifest(PACKED, SIGNED) == manifest_of(30)
    assert (SIGNED.length, SIGNED.sha256) == (len(PACKED), hashlib.sha256(PACKED).hexdigest())
    assert SIGNED.size == sum(map(len, write_pages(manifest_of(30))))


def test_the_same_manifest_gives_the_same_bytes() -> None:
    """As the archive does; who builds twice gets one hash."""
    assert write_manifest(manifest_of(30)) == PACKED


def test_an_older_package_whose_list_is_one_document_is_read() -> None:
    """What was published stays what it is, and installs."""
    listing = manifest_of(30).to_bytes()
    packed = b"".join(frames.compress([listing], len(listing)))
    assert read_manifest(packed, reference_to(packed)) == manifest_of(30)
    assert reference_to(packed).size == len(listing)


def test_any_zstd_reads_it() -> None:
    """The index is a frame that others skip; the documents follow each other."""
    listed = write_pages(manifest_of(30))
    found = [page.of(PACKED) for page in read_index(PACKED, len(PACKED))]
    assert [ZstdDecompressor().decompress(page) for page in found] == listed


def test_of_a_file_hardly_more_than_its_hash_is_left() -> None:
    """32 bytes cannot be saved; a listed file costs little more, where the JSON has about 150 bytes."""
    packed = write_manifest(manifest_of(5_000))
    assert len(packed) < 45 * 5_000
    assert reference_to(packed).size > 130 * 5_000


OTHERS = {
    "one bit differs": PACKED[:40] + bytes([PACKED[40] ^ 1]) + PACKED[41:],
    "it is cut short": PACKED[:-1],
    "it goes on": PACKED + b" ",
    "it is the same list, compressed in another way": frame_of(manifest_of(30).to_bytes(), says_size=False),
    "it is empty": b"",
}


@pytest.mark.parametrize("packed", OTHERS.values(), ids=OTHERS.keys())
def test_only_the_signed_bytes_are_decompressed(packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the store sent instead, no decompressor sees it."""
    monkeypatch.setattr(frames, "decompress", pytest.fail)
    with pytest.raises(BadContent, match="not the one that was signed"):
        read_manifest(packed, SIGNED)


@pytest.mark.parametrize("difference", [-1, 1])
def test_it_must_become_exactly_as_large_as_was_signed(difference: int) -> None:
    """Not one byte more is made of it, even if its hash is right."""
    with pytest.raises(BadContent, match="the manifest becomes"):
        read_manifest(PACKED, msgspec.structs.replace(SIGNED, size=SIGNED.size + difference))


LIES = {
    "a page that ends elsewhere": [PACKED[-60:]],
    "a page with something behind its end": [frame_of(b"{}") + b" "],
    "no page of this format": [b"".join(frames.compress([b"{}"], 2))],
}


@pytest.mark.parametrize("pages", LIES.values(), ids=LIES.keys())
def test_a_signed_file_with_an_index_that_lies_is_refused(pages: list[bytes]) -> None:
    """An app's key may sign what it likes, so an index is believed no more than a page."""
    packed = write_index(pages) + b"".join(pages)
    signed = ManifestRef(len(packed), 2, hashlib.sha256(packed).hexdigest())
    with pytest.raises((BadContent, BadManifest)):
        read_manifest(packed, signed)


TOO_LARGE = bytes(MAX_MANIFEST_BYTES + 1)
UNFIT = {
    "a web page": (b"<html>", "no zstd frame"),
    "nothing": (b"", "no zstd frame"),
    "a frame that does not say its size": (frame_of(b"{}", says_size=False), "does not say its size"),
    "a bomb": (
        b"".join(frames.compress([TOO_LARGE], len(TOO_LARGE))),
        "larger than 32 MiB decompressed",
    ),
    "a file too large to fetch": (PACKED + bytes(MAX_MANIFEST_FILE_BYTES), "larger than 8 MiB compressed"),
}


@pytest.mark.parametrize(("packed", "message"), UNFIT.values(), ids=UNFIT.keys())
def test_what_hosts_would_refuse_is_not_signed(packed: bytes, message: str) -> None:
    """Nobody is asked to sign a manifest that no host would read."""
    with pytest.raises(BadManifest, match=message):
        reference_to(packed)


TOO_MUCH = {
    "the file": {"length": MAX_MANIFEST_FILE_BYTES + 1},
    "its content": {"size": MAX_MANIFEST_BYTES + 1},
    "nothing": {"length": 0},
}


@pytest.mark.parametrize("change", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_a_signed_size_beyond_the_limits_is_refused_before_anything_is_fetched(change: dict[str, int]) -> None:
    """The app's key may sign what it likes; a host's memory and line have limits of their own."""
    ref = msgspec.to_builtins(ManifestRef(1, 1, "ab" * 32)) | change
    custom = {"app": "shop", "version": "1", "release": 1, "manifest": ref, "published_at": 0}
    with pytest.raises(BadEnvelope, match="not of this format"):
        read_release(package_path("shop", "1"), 1, "ab" * 32, custom)
