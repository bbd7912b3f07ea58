"""How a manifest lies beside its package and travels: an index, and a zstd frame for each of its documents.

A list of 28,000 files is 6 MB of JSON, of which an update of 50 files would fetch every byte
anew; compressed, only the hashes weigh, and of those a host fetches only pages that it does
not have (`manifest_index`). `zstd -dc` shows the documents.

Older packages have the manifest's JSON as a whole, in one frame; they are read as well.
"""

from __future__ import annotations

import hashlib

from clarion_protocol import frames
from clarion_protocol.errors import BadContent, BadManifest
from clarion_protocol.manifest import MAX_MANIFEST_BYTES, Manifest
from clarion_protocol.manifest_index import read_index, write_index
from clarion_protocol.manifest_pages import read_pages, write_pages
from clarion_protocol.published import MAX_MANIFEST_FILE_BYTES, ManifestRef
from clarion_protocol.zstd import ZstdError, get_frame_info

# Measured on 28,000 files: a sixth less than at the archive's level, for two seconds once, at build.
LEVEL = 16
_LEAVE_OUT = "Leave some files out: [build] exclude in clarion.toml."


def write_manifest(manifest: Manifest) -> bytes:
    """Return the file of `manifest`; the same manifest gives the same bytes.

    Raises:
        BadManifest: it is larger than hosts accept.
    """
    documents = write_pages(manifest)
    pages = [b"".join(frames.compress([document], len(document), LEVEL)) for document in documents]
    packed = write_index(pages) + b"".join(pages)
    _check_limits(len(packed), sum(map(len, documents)))
    return packed


def reference_to(packed: bytes) -> ManifestRef:
    """Return what is to be signed of the file `packed`. Its size is what its frames say; reading it checks that.

    Raises:
        BadManifest: it is no such file, or larger than hosts accept.
    """
    size = sum(map(_size_of, _pages(packed)))
    _check_limits(len(packed), size)
    return ManifestRef(len(packed), size, hashlib.sha256(packed).hexdigest())


def is_signed(packed: bytes, signed: ManifestRef) -> bool:
    """Return whether the file `packed` is the `signed` one."""
    return len(packed) == signed.length and hashlib.sha256(packed).hexdigest() == signed.sha256


def read_manifest(packed: bytes, signed: ManifestRef) -> Manifest:
    """Return the manifest in the file `packed`, which must be the `signed` one; nothing else is decompressed.

    Raises:
        BadContent: it is another file, or its content is not of the size that was signed.
        BadManifest: it breaks a rule of the format.
    """
    if not is_signed(packed, signed):
        raise BadContent("the manifest that came is not the one that was signed")
    pages = _pages(packed)
    sizes = [_size_of(page) for page in pages]
    if sum(sizes) != signed.size:
        raise BadContent(f"the manifest becomes {sum(sizes)} bytes where {signed.size} were signed")
    documents = [b"".join(frames.decompress([page], size)) for page, size in zip(pages, sizes, strict=True)]
    return Manifest.parse(documents[0]) if pages == [packed] else read_pages(documents)


def _pages(packed: bytes) -> list[bytes]:
    """Return the frames of a manifest's file; one that has no index is one frame."""
    return [page.of(packed) for page in read_index(packed, len(packed))] or [packed]


def _size_of(frame: bytes) -> int:
    try:
        size = get_frame_info(frame).decompressed_size
    except ZstdError as error:
        raise BadManifest("the manifest is no zstd frame", hint="Publish what 'clarion build' wrote.") from error
    if size is None:
        raise BadManifest("the manifest's frame does not say its size")
    return size


def _check_limits(length: int, size: int) -> None:
    for what, count, limit in (
        ("compressed", length, MAX_MANIFEST_FILE_BYTES),
        ("decompressed", size, MAX_MANIFEST_BYTES),
    ):
        if count > limit:
            raise BadManifest(f"the manifest is larger than {limit // 2**20} MiB {what}", hint=_LEAVE_OUT)
