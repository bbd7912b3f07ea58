"""`clarion publish`: put a built package into the store and say so in the signed metadata.

1. check    the archive against its manifest, byte by byte
2. admit    the app, if this is its first release: a key and a role of its own
3. compare  with what is published: a version is bound to its bytes for ever
4. place    manifest and archive in the store, durably: the home's folder, or the bucket that fleet.toml names
5. sign     the app's role, snapshot and timestamp; with the last of them it is published

A crash between any two of these leaves the old state; running it again finishes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from tuf.api.metadata import TargetFile

from clarion_controller.building.compare import check_package
from clarion_controller.fleet_toml.fleet import FILE_NAME, load_fleet, unknown
from clarion_controller.publishing.tuf_change import Change, is_old
from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.store import Store
from clarion_protocol.errors import AlreadyPublished, BadContent, BadManifest, Blocked
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.published import MAX_MANIFEST_FILE_BYTES, Release, role_of


@dataclass(frozen=True)
class Published:
    """A release that is published now; `is_repeat` if it was already."""

    release: Release
    is_repeat: bool


def publish(home: Path, package: Path, manifest: Path, now: datetime | None = None) -> Published:
    """Publish the archive `package`, described by the file `manifest`, in the cluster of `home`.

    Publishing the very same bytes again changes nothing, except that it repairs the store's files.

    Raises:
        NoCluster: there is no cluster in `home`.
        BadManifest, BadContent: the package breaks a rule, or is not what its manifest says.
        AlreadyPublished: the version exists with other bytes.
        BadConfig: clarion.toml or fleet.toml breaks a rule, a key is offline, or the metadata is damaged.
        Blocked: another publish does not finish.
        NoSpace, HostError: the disk does not take it.
        CloudUnavailable, CloudRefused: the bucket does not take it.
    """
    repository = TufRepository.at(home)
    store = store_of(load_fleet(home / FILE_NAME).store, home)
    now = (now or datetime.now(timezone.utc)).replace(microsecond=0)
    release = _checked(package, manifest, now)
    repository.add_app(release.app, now)
    with repository.publishing():
        known = repository.releases(release.app)
        published = next((each for each in known if each.version == release.version), None)
        if published:
            _check_same(published, release)
        _put(store, release.manifest_path, manifest, release.manifest_sha256)
        _put(store, release.path, package, release.sha256)
        newest = max((each.release for each in known), default=0)
        release = published or msgspec.structs.replace(release, release=newest + 1)
        with repository.change(now) as change:
            if published is None or is_old(role_of(release.app), _expiry(change, release.app), now):
                _sign(change, release)
    return Published(release, is_repeat=published is not None)


def packages(home: Path, app: str | None = None) -> list[Release]:
    """Return what is published in the cluster of `home`: by app, then oldest first.

    Raises:
        NoCluster: there is no cluster in `home`.
        UnknownName: nothing was ever published of `app`.
        BadConfig: the metadata is damaged.
    """
    repository = TufRepository.at(home)
    names = repository.apps()
    if app and app not in names:
        raise unknown("app", app, names, hint="Run 'clarion packages' to see them, 'clarion publish' to add one.")
    return [release for name in ([app] if app else names) for release in repository.releases(name)]


def _checked(package: Path, manifest: Path, now: datetime) -> Release:
    """Return the release (not numbered yet) that the files hold."""
    if not package.exists():
        raise BadContent(f"{package} does not exist", hint="Run 'clarion build' first.")
    listing = _read_listing(manifest)
    ref = reference_to(listing)
    contents = read_manifest(listing, ref)
    try:
        check_package(package, contents)
    except OSError as error:
        raise BadContent(f"{package} cannot be read: {error.strerror}", hint="Run 'clarion build' first.") from error
    except BadContent as error:
        hint = error.hint or "Build it again: 'clarion build'."
        raise BadContent(f"{package} is not as it was built: {error.message}", hint=hint) from error
    return Release(
        app=contents.app,
        version=contents.version,
        release=0,
        length=contents.archive.length,
        sha256=contents.archive.sha256,
        manifest=ref,
        published_at=int(now.timestamp()),
    )


def _read_listing(manifest: Path) -> bytes:
    try:
        with manifest.open("rb") as file:
            return file.read(MAX_MANIFEST_FILE_BYTES + 1)
    except OSError as error:
        raise BadManifest(f"{manifest} cannot be read: {error.strerror}", hint="Run 'clarion build' first.") from error


def _check_same(published: Release, offered: Release) -> None:
    if (published.sha256, published.manifest) != (offered.sha256, offered.manifest):
        raise AlreadyPublished(
            f"{offered.app} {offered.version} is already published as release {published.release} with other bytes",
            hint="Build it under a new version: 'clarion build --version ...'.",
        )


def _expiry(change: Change, app: str) -> datetime:
    return change.current.role(role_of(app)).signed.expires


def _put(store: Store, key: str, file: Path, sha256: str) -> None:
    """Have the store hold a file under `key`; what is placed is what is signed, even if it changes under our hands.

    Raises:
        BadContent: it did.
        Blocked: somebody else puts something there.
    """
    if store.put_if_absent(key, file, sha256) or _holds(store, key, file, sha256):
        return
    # No metadata names other bytes: a publish that crashed left them, or they are damaged.
    store.delete(key)
    if not store.put_if_absent(key, file, sha256):
        raise Blocked(f"somebody else puts {key} into the store", hint="Publish it again when they are done.")


def _holds(store: Store, key: str, file: Path, sha256: str) -> bool:
    stored = store.head(key)
    if stored is None or stored.length != file.stat().st_size:
        return False
    digest = hashlib.sha256()
    for chunk in store.get(key):
        digest.update(chunk)
    return digest.hexdigest() == sha256


def _sign(change: Change, release: Release) -> None:
    target = TargetFile(release.length, {"sha256": release.sha256}, release.path, {"custom": release.custom()})
    change.edit(role_of(release.app)).targets[release.path] = target
