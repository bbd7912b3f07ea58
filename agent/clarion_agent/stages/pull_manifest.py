"""Pull the manifest: its pages that the running release's manifest does not have, or all of it."""

from __future__ import annotations

from pathlib import Path

from clarion_agent.attempt import Staging
from clarion_protocol import manifest_index
from clarion_protocol.manifest_file import is_signed
from clarion_protocol.manifest_index import BEGINNING
from clarion_protocol.published import Release

FILE = "manifest.json.zst"


def fetch_manifest(staging: Staging, target: Release, older: bytes) -> bytes:
    """Return the file of the manifest of `target`, for which the file of an `older` one may be of use.

    Raises:
        NetworkError: the store is away, or does not behave.
    """
    path = staging.workshop / FILE
    if older and target.manifest_length > BEGINNING:
        packed = _put_together(staging, target, older, path)
        if is_signed(packed, target.manifest):
            return packed
    # Also if it came out wrong, whoever is to blame: nobody needs to believe an index.
    _fetch(staging, target, path, (0, target.manifest_length))
    return path.read_bytes()


def _put_together(staging: Staging, target: Release, older: bytes, path: Path) -> bytes:
    _fetch(staging, target, path, (0, BEGINNING))
    pages = manifest_index.read_index(path.read_bytes(), target.manifest_length)
    common = manifest_index.in_common(pages, older)
    if not common:
        return b""
    _fetch(staging, target, path, *manifest_index.missing(pages, common))
    return manifest_index.fill(path.read_bytes(), common, target.manifest_length)


def _fetch(staging: Staging, target: Release, path: Path, *spans: tuple[int, int]) -> None:
    staging.host.net.fetch(target.manifest_path, path, spans, total=target.manifest_length)
