"""Pull: fetch the manifest, then only those bytes of the package that this host does not have."""

from __future__ import annotations

import os

import psutil

from clarion_agent import durable
from clarion_agent.app_folder import AppFolder
from clarion_agent.attempt import Staging
from clarion_agent.stages.pull_manifest import fetch_manifest
from clarion_agent.stages.verify import target_of
from clarion_agent.tree import intact_files
from clarion_protocol import ranges
from clarion_protocol.amounts import Size
from clarion_protocol.entries import File
from clarion_protocol.errors import BadContent, BadManifest, NetworkError, NoSpace
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.words import HostStatus, Stage

ARCHIVE = "package.tar.zst"
PATIENCE_S = (1.0, 2.0, 4.0, 8.0)


def do(staging: Staging) -> None:
    """Fetch what is needed into the workshop, after making sure that there is room for it.

    Raises:
        NetworkError: the store is away, even after some patience.
        PackageError: the package repository does not know what the order names.
        NoSpace: the disk would be fuller than agent.toml allows; nothing was downloaded.
    """
    durable.remove_tree(staging.workshop)
    durable.make_folder(staging.workshop, mode=0o700)
    for pause in PATIENCE_S:
        if _has_pulled(staging):
            return
        staging.stopper.wait(pause)
    _pull(staging)


def undo(staging: Staging) -> None:
    """Throw away what was fetched."""
    durable.remove_tree(staging.workshop)


def _has_pulled(staging: Staging) -> bool:
    try:
        _pull(staging)
    except NetworkError as error:
        staging.reporter.say(HostStatus.PULLING, Stage.PULL, reason=f"trying again: {error.message}", error=error.code)
        return False
    return True


def _pull(staging: Staging) -> None:
    staging.host.net.refresh()
    target = target_of(staging)
    staging.base = staging.folder.current()
    older = _manifest_of(staging.folder, staging.base)
    staging.packed_manifest = fetch_manifest(staging, target, older)
    staging.manifest = read_manifest(staging.packed_manifest, target.manifest)
    staging.plan = ranges.plan(staging.manifest, _what_is_here(staging.folder, staging.base, older))
    staging.stopper.check()
    _check_space(staging)
    archive = staging.workshop / ARCHIVE
    staging.host.net.fetch(target.path, archive, staging.plan.spans, total=target.length)


def _manifest_of(folder: AppFolder, base: str | None) -> bytes:
    """Return the file of a release's manifest as it was fetched, or nothing."""
    try:
        return folder.manifest_file(base).read_bytes() if base else b""
    except FileNotFoundError:
        return b""


def _what_is_here(folder: AppFolder, base: str | None, packed: bytes) -> list[File]:
    """Return the files of the release that runs, as far as they are intact: they are linked instead of fetched."""
    if base is None:
        return []
    try:
        manifest = read_manifest(packed, reference_to(packed))
    except (BadManifest, BadContent):
        return []  # then everything is fetched
    root = os.open(folder.release_folder(base), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return intact_files(manifest, root)
    finally:
        os.close(root)


def _check_space(staging: Staging) -> None:
    if staging.manifest is None or staging.plan is None:
        raise BadContent("nothing was pulled")
    linked = sum(file.size for file in staging.manifest.files() if file.path in staging.plan.links)
    needed = staging.plan.length + staging.manifest.totals.unpacked - linked
    reserve = staging.host.config.disk_reserve
    free = psutil.disk_usage(str(staging.folder.root)).free
    if free < needed + reserve:
        raise NoSpace(
            f"{staging.folder.root} has {Size(free)} free; this release needs {Size(needed)} "
            f"and agent.toml reserves {Size(reserve)}",
            hint="Remove what fills the disk, or lower disk_reserve in agent.toml.",
        )
    inodes = os.statvfs(staging.folder.root)
    if inodes.f_files and inodes.f_favail < staging.manifest.totals.entries + 1000:
        raise NoSpace(
            f"{staging.folder.root} has {inodes.f_favail} inodes free; this release has "
            f"{staging.manifest.totals.entries} entries"
        )
