"""Place: unpack aside, sync, and move the whole release into `releases/` by one rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clarion_agent import durable
from clarion_agent.app_folder import ReleaseRecord
from clarion_agent.attempt import Staging
from clarion_agent.stages.pull import ARCHIVE
from clarion_agent.stages.restart import allowed_units
from clarion_agent.stages.unpack import Base, unpack
from clarion_protocol.app_config import FILE_NAME, load_app_config
from clarion_protocol.errors import BadContent, BadManifest

TREE = "tree"


def do(staging: Staging) -> None:
    """Make `releases/<id>` appear whole: written, synced, then renamed.

    Raises:
        PackageError: the package is not what was signed, or has no usable clarion.toml.
        UnitNotAllowed: the package wants to restart what this host does not allow.
        NoSpace, HostError: the disk refuses.
    """
    if staging.manifest is None:
        raise BadContent("nothing was pulled")
    tree = staging.workshop / TREE
    durable.make_folder(tree)
    _unpack(staging, tree)
    _check_config(staging, tree)
    durable.sync_tree(tree)
    if staging.release != staging.folder.current():
        staging.folder.remove_release(staging.release)  # an earlier attempt's, of which the record is lost
    # Record and manifest go first: without the folder they mean nothing.
    durable.write_atomic(staging.folder.manifest_file(staging.release), staging.packed_manifest)
    staging.folder.save_record(ReleaseRecord(staging.deployment.ref))
    durable.move_into_place(tree, staging.folder.release_folder(staging.release))
    durable.remove_tree(staging.workshop)


def undo(staging: Staging) -> None:
    """Remove the release again; nothing that runs is ever removed."""
    if staging.release != staging.folder.current():
        staging.folder.remove_release(staging.release)


def _unpack(staging: Staging, tree: Path) -> None:
    if staging.manifest is None or staging.plan is None:
        raise BadContent("nothing was pulled")
    with _opened(staging.workshop / ARCHIVE) as archive, _opened(tree) as destination:
        if staging.base is None or not staging.plan.links:
            unpack(staging.manifest, archive, destination)
            return
        with _opened(staging.folder.release_folder(staging.base)) as old:
            unpack(staging.manifest, archive, destination, Base(old, staging.plan.links))


def _check_config(staging: Staging, tree: Path) -> None:
    try:
        text = (tree / FILE_NAME).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(
            f"the package of {staging.deployment.app} {staging.deployment.version} has no readable {FILE_NAME}",
            hint="Build it with 'clarion build DIR' from a folder that has one.",
        ) from error
    app = load_app_config(text, f"{FILE_NAME} of {staging.deployment.app} {staging.deployment.version}")
    if app.app.name != staging.deployment.app:
        raise BadContent(f"{FILE_NAME} in the package of {staging.deployment.app} is that of {app.app.name}")
    allowed_units(staging.host.config, app)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
