"""What the TUF metadata says of a published release, and how its files are called in a store.

====================================  =====================================================
target path                           signed by
====================================  =====================================================
``<app>/<app>-<version>.tar.zst``     role ``app-<app>``; `Custom` beside length and SHA-256
``policy/<environment>.json``         the top-level targets role
====================================  =====================================================

A package's manifest is no target of its own: it is trusted by the hash in `Custom`. There it
says as well how large it becomes, so that a host need not find out by decompressing.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from clarion_protocol.documents import Count, Name, Sha256, Time, Version
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.manifest import MAX_MANIFEST_BYTES

PACKAGE_SUFFIX = ".tar.zst"
MANIFEST_SUFFIX = ".manifest.json.zst"
# 50,000 entries of about 40 bytes that do not compress, several times over.
MAX_MANIFEST_FILE_BYTES = 8 * 2**20


class ManifestRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest's file beside a package: its length and hash as it lies there, and its size decompressed."""

    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_MANIFEST_FILE_BYTES)]
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_MANIFEST_BYTES)]
    sha256: Sha256


class Custom(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `custom` field of a package's target: which release it is, and since when (UTC s)."""

    app: Name
    version: Version
    release: Count
    manifest: ManifestRef
    published_at: Time


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One published release, whole."""

    app: str
    version: str
    release: int
    length: int
    sha256: str
    manifest: ManifestRef
    published_at: int

    @property
    def path(self) -> str:
        """The TUF target path of the package."""
        return package_path(self.app, self.version)

    @property
    def manifest_path(self) -> str:
        """The path of its manifest in the store."""
        return manifest_path(self.app, self.version)

    @property
    def manifest_length(self) -> int:
        """The length in bytes of the manifest's file."""
        return self.manifest.length

    @property
    def manifest_sha256(self) -> str:
        """The hash of the manifest's file."""
        return self.manifest.sha256

    def custom(self) -> dict[str, Any]:
        """Return the `custom` field that says this."""
        fields = {name: getattr(self, name) for name in Custom.__struct_fields__}
        return dict(msgspec.to_builtins(Custom(**fields)))


def read_release(path: str, length: int, sha256: str, custom: object) -> Release:
    """Return the release that a verified target describes.

    Raises:
        BadEnvelope: `custom` is not of its schema, or speaks of another path.
    """
    try:
        read = msgspec.convert(custom, Custom)
    except msgspec.ValidationError as error:
        raise BadEnvelope(f"the metadata of {path[:200]!r} is not of this format: {error}") from error
    if package_path(read.app, read.version) != path:
        raise BadEnvelope(f"the metadata of {path[:200]!r} speaks of {read.app} {read.version}")
    return Release(length=length, sha256=sha256, **msgspec.structs.asdict(read))


def role_of(app: str) -> str:
    """Return the name of the TUF role that signs the releases of `app`."""
    return f"app-{app}"


def package_path(app: str, version: str) -> str:
    """Return the TUF target path of a package."""
    return f"{app}/{app}-{version}{PACKAGE_SUFFIX}"


def manifest_path(app: str, version: str) -> str:
    """Return the path of a package's manifest in the store."""
    return f"{app}/{app}-{version}{MANIFEST_SUFFIX}"


def policy_file(environment: str, sha256: str) -> str:
    """Return the path of a policy in the store: with its hash, because a policy changes under one target path."""
    return f"policy/{sha256}.{environment}.json"
