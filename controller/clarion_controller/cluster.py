"""The cluster in a home folder: its fleet.toml, its packages and policies, as the controller needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clarion_controller.fleet_toml.fleet import FILE_NAME, Controller, Fleet, load_fleet, unknown
from clarion_controller.initialise import cluster_id
from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_protocol.errors import BadConfig, UnknownPackage
from clarion_protocol.policy import Policy, policy_path, read_policy
from clarion_protocol.published import Release, policy_file


@dataclass(frozen=True)
class Cluster:
    """What is configured and what is published, both as the files say now: editing them needs no restart.

    `at_start` is fleet.toml as it was then: ports and addresses that are bound do not change.
    """

    id: str
    home: Path
    repository: TufRepository
    at_start: Controller

    @classmethod
    def at(cls, home: Path) -> Cluster:
        """Return the cluster in `home`.

        Raises:
            NoCluster: there is none.
            BadConfig: its fleet.toml does not fit, or names an environment without a policy.
        """
        repository = TufRepository.at(home)
        cluster = cls(cluster_id(home), home, repository, load_fleet(home / FILE_NAME).controller)
        for environment in cluster.fleet.environment:
            cluster.policy(environment)
        return cluster

    @property
    def fleet(self) -> Fleet:
        """What fleet.toml says.

        Raises:
            BadConfig: it does not fit.
        """
        path = self.home / FILE_NAME
        try:
            now = path.stat()
        except OSError as error:
            raise BadConfig(
                f"{path} cannot be read: {error.strerror}", hint="Put it back: it names all hosts."
            ) from error
        return _fleet_in(path, (now.st_mtime_ns, now.st_size))

    def policy(self, environment: str) -> Policy:
        """Return who may order what in an environment.

        Raises:
            UnknownName: no such environment.
            BadConfig: its policy is missing.
        """
        self.fleet.in_environment(environment)
        target = self.repository.files.current().targets.signed.targets.get(policy_path(environment))
        if target is None:
            raise BadConfig(
                f"environment {environment!r} of {FILE_NAME} has no signed policy",
                hint=f"Run 'clarion init --environment {environment}' where the targets key is.",
            )
        return read_policy((self.repository.packages / policy_file(environment, target.hashes["sha256"])).read_bytes())

    def release(self, app: str, version: str) -> Release:
        """Return a published release.

        Raises:
            UnknownName: no such app, or the app has no such version.
        """
        releases = {release.version: release for release in self.releases(app)}
        if version not in releases:
            hint = f"Run 'clarion packages {app}' to see them, 'clarion publish' to add one."
            raise unknown(f"version of {app}", version, releases, hint=hint)
        return releases[version]

    def releases(self, app: str) -> list[Release]:
        """Return the published releases of an app, oldest first.

        Raises:
            UnknownName: no such app.
        """
        found = self.repository.releases(app)
        if not found:
            hint = "Run 'clarion packages' to see them, 'clarion publish' to add one."
            raise unknown("app", app, self.repository.apps(), hint=hint)
        return found

    def published(self, app: str, version: str, sha256: str) -> Release:
        """Return a release by all that a deployment says of it.

        Raises:
            UnknownPackage: the store has no such release, or other bytes.
        """
        found = next((each for each in self.repository.releases(app) if each.version == version), None)
        if found is None or found.sha256 != sha256:
            raise UnknownPackage(f"{app} {version} with SHA-256 {sha256[:12]} is not published here")
        return found


@lru_cache(maxsize=8)
def _fleet_in(path: Path, _state: tuple[int, int]) -> Fleet:
    return load_fleet(path)
