"""Take the package out of a folder that a build could write to, and believe nothing of what lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from clarion_controller.durable_files import write_file
from clarion_protocol.amounts import Size
from clarion_protocol.errors import BuildFailed
from clarion_protocol.manifest import Manifest
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.published import MANIFEST_SUFFIX, MAX_MANIFEST_FILE_BYTES, PACKAGE_SUFFIX

CHUNK = 1 << 20


def take(found: Path, out: Path, version: str, limit: int) -> tuple[Path, Path, Manifest]:
    """Copy the one package of `version` in `found` and its manifest to `out`; return where, and what the manifest says.

    That the archive is what the manifest says is checked by who publishes it.

    Raises:
        BuildFailed: there is none, there is more, a file is no plain file or too large, or it is of another version.
        PackageError: the manifest breaks a rule.
    """
    with os.scandir(found) as entries:
        names = sorted(entry.name for entry in islice(entries, 6))  # there may be millions
    stems = [name.removesuffix(PACKAGE_SUFFIX) for name in names if name.endswith(PACKAGE_SUFFIX)]
    if len(stems) != 1 or names != sorted(stems[0] + suffix for suffix in (PACKAGE_SUFFIX, MANIFEST_SUFFIX)):
        listed = ", ".join(ascii(name[:80]) for name in names) or "nothing"
        raise BuildFailed(f"the build left {listed} where one package and its manifest should be")
    with _plain_file(found / (stems[0] + MANIFEST_SUFFIX), MAX_MANIFEST_FILE_BYTES) as file:
        listing = file.read(MAX_MANIFEST_FILE_BYTES)
    manifest = read_manifest(listing, reference_to(listing))
    stem = f"{manifest.app}-{manifest.version}"
    if manifest.version != version or stem != stems[0]:
        raise BuildFailed(f"the build made {stems[0][:130]!a}, and calls it {stem}; wanted is version {version}")
    package, listed_at = out / (stem + PACKAGE_SUFFIX), out / (stem + MANIFEST_SUFFIX)
    with _plain_file(found / package.name, limit) as file:
        write_file(package, iter(lambda: file.read(CHUNK), b""))
    write_file(listed_at, [listing])
    return package, listed_at, manifest


@contextmanager
def _plain_file(path: Path, limit: int) -> Iterator[BinaryIO]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BuildFailed(f"the build made {path.name[:130]!a}, but it is no plain file: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise BuildFailed(f"the build made {path.name[:130]!a}, but it is no plain file of one name")
        if status.st_size > limit:
            raise BuildFailed(
                f"the build made {path.name[:130]!a} of {Size(status.st_size)}; at most are {Size(limit)}"
            )
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)
