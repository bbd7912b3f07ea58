"""How a manifest lies beside its package and travels: as one zstd frame, of a length and size that are signed.

A list of 28,000 files is 7 MB of JSON, of which an update of 50 files would fetch every
byte anew; compressed, only the hashes weigh.
"""

from __future__ import annotations

import hashlib

from clarion_protocol import frames
from clarion_protocol.errors import BadContent, BadManifest
from clarion_protocol.manifest import MAX_MANIFEST_BYTES, Manifest
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
    listing = manifest.to_bytes()
    packed = b"".join(frames.compress([listing], len(listing), LEVEL))
    _check_limits(len(packed), len(listing))
    return packed


def reference_to(packed: bytes) -> ManifestRef:
    """Return what is to be signed of the file `packed`. Its size is what the frame says; reading it checks that.

    Raises:
        BadManifest: it is no such file, or larger than hosts accept.
    """
    try:
        size = get_frame_info(packed).decompressed_size
    except ZstdError as error:
        raise BadManifest("the manifest is no zstd frame", hint="Publish what 'clarion build' wrote.") from error
    if size is None:
        raise BadManifest("the manifest's frame does not say its size")
    _check_limits(len(packed), size)
    return ManifestRef(len(packed), size, hashlib.sha256(packed).hexdigest())


def read_manifest(packed: bytes, signed: ManifestRef) -> Manifest:
    """Return the manifest in the file `packed`, which must be the `signed` one; nothing else is decompressed.

    Raises:
        BadContent: it is another file, or its content is not of the size that was signed.
        BadManifest: it breaks a rule of the format.
    """
    if len(packed) != signed.length or hashlib.sha256(packed).hexdigest() != signed.sha256:
        raise BadContent("the manifest that came is not the one that was signed")
    return Manifest.parse(b"".join(frames.decompress([packed], signed.size)))


def _check_limits(length: int, size: int) -> None:
    for what, count, limit in (
        ("compressed", length, MAX_MANIFEST_FILE_BYTES),
        ("decompressed", size, MAX_MANIFEST_BYTES),
    ):
        if count > limit:
            raise BadManifest(f"the manifest is larger than {limit // 2**20} MiB {what}", hint=_LEAVE_OUT)
