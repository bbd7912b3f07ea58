"""The cluster of a rehearsal: in a temporary folder, with keys of its own, given what production has in force.

Of production's home only what is public is read: the metadata that names a release, and the package store. No key of
it is touched, and nothing there is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet
from clarion_controller.initialise import initialise
from clarion_controller.key_files import KeyFolder
from clarion_controller.nightly.rehearsal_order import Orderer
from clarion_controller.publish import packages, publish
from clarion_controller.stores.choose import store_of
from clarion_protocol.errors import BadContent, UnknownPackage
from clarion_protocol.published import MANIFEST_SUFFIX, PACKAGE_SUFFIX, Release

ACTOR = "clarion nightly"

_FLEET = """\
[cluster]
name = "rehearsal"

[controller]
address = "{at.address}"
bind = "{at.bind}"
signal_port = {at.first_port}
report_port = {ports[1]}
join_port = {ports[2]}
package_port = {ports[3]}

[environment."{environment}"]
"""


@dataclass(frozen=True)
class Address:
    """Where fresh servers find the controller: four ports from `first_port` on; it listens at `bind`."""

    address: str
    bind: str
    first_port: int


@dataclass(frozen=True)
class Rehearsal:
    """A cluster for one environment of one night, in the folder `home`."""

    home: Path
    environment: str

    @classmethod
    def found(cls, home: Path, environment: str, at: Address) -> Rehearsal:
        """Make the cluster, with new keys for everything.

        Raises:
            BadConfig: the folder or the address cannot be used.
        """
        initialise(home, "rehearsal", at.address, [environment])
        ports = range(at.first_port, at.first_port + 4)
        (home / FILE_NAME).write_text(_FLEET.format(at=at, ports=ports, environment=environment), "utf-8")
        return cls(home, environment)

    @property
    def api(self) -> Path:
        """The socket of its controller."""
        return self.home / "run" / "controller.sock"

    def orderer(self) -> Orderer:
        """Return who deploys in it: whoever has its own deployer's key."""
        return Orderer(Controller(self.api), self.environment, KeyFolder(self.home / "keys").read("deployer"), ACTOR)


@dataclass(frozen=True)
class Production:
    """The public part of production's home: what is published, and the store in which it lies."""

    home: Path
    fleet: Fleet

    def give(self, app: str, version: str, rehearsal: Rehearsal, work: Path) -> None:
        """Publish a version in the rehearsal: the very same bytes.

        Raises:
            UnknownPackage: production has published no such version.
            BadContent: what lies in its store is not what was published.
            CloudUnavailable, CloudRefused: its bucket does not hand it out.
        """
        release = self._release(app, version)
        store = store_of(self.fleet.store, self.home)
        stem = work / f"{app}-{version}"
        package, manifest = (stem.with_name(stem.name + suffix) for suffix in (PACKAGE_SUFFIX, MANIFEST_SUFFIX))
        try:
            _save(store.get(release.manifest_path), manifest, release.manifest_sha256)
            _save(store.get(release.path), package, release.sha256)
            publish(rehearsal.home, package, manifest)
        finally:
            package.unlink(missing_ok=True)
            manifest.unlink(missing_ok=True)

    def _release(self, app: str, version: str) -> Release:
        for release in packages(self.home, app):
            if release.version == version:
                return release
        raise UnknownPackage(f"{app} {version} is in force, but not published", hint=f"Run 'clarion packages {app}'.")


def _save(chunks: Iterator[bytes], file: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != sha256:
        raise BadContent(f"{file.name} in the store is not what was published", hint="Run 'clarion doctor'.")
