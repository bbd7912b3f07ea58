"""What happens to a green build, in order; whatever a crash came between is done again, for each step may be.

1. check     the package is of the app and version that the push stands for
2. publish   `clarion publish`, a child: hashing 450 MB must not hold up a rollout; a commit that was published
             before, from another branch perhaps, stays what it is
3. deploy    `clarion deploy`, a child, if the repository has `auto_deploy` and the branch is the one
4. settle    the build is over, its package leaves the queue's folder

What is not published failed. What is published and cannot be deployed succeeded, and says why it was not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from clarion_controller.builds import log_file
from clarion_controller.builds.build import Build, BuildStatus, version_of
from clarion_controller.builds.builds import Builds
from clarion_controller.builds.run_clarion import Clarion, Outcome
from clarion_controller.cluster import Cluster
from clarion_protocol.errors import BadContent, ClarionError
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.words import ExitCode

AGAIN_AFTER_S = 10.0
SHORT = 12  # digits of a build's id in what is signed of its deployment
MOST_TRIES = 6  # at publishing, while another publisher holds the lock

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AfterBuild:
    """Publishes and deploys; `is_ordered` tells whether a deployment was ordered in a stream for this reason."""

    builds: Builds
    clarion: Clarion
    is_ordered: Callable[[str, str, str], bool]
    again_after: float = AGAIN_AFTER_S

    async def settle_all(self) -> None:
        """Bring every green build to its end, oldest first."""
        for build in await self.builds.do(self.builds.queue.in_publishing):
            try:
                await self.settle(build)
            except Exception as error:  # noqa: BLE001, PERF203 (tried again, and in nobody's way)
                _log.error("build.not_settled", build=build.id, exc_info=error)

    async def settle(self, build: Build) -> None:
        """Bring one green build to its end."""
        try:
            await self.builds.do(lambda: check(self.builds, build))
            await self._publish(build)
        except ClarionError as error:
            await self._end(build, BuildStatus.FAILED, f"not published: {error.message}", "")
        else:
            environment, why_not = await self._deploy(build)
            await self._end(build, BuildStatus.SUCCEEDED, why_not, environment)

    async def _publish(self, build: Build) -> None:
        if await self.builds.do(lambda: is_published(self.builds.cluster, build)):
            await self._hear(build, f"{build.app} {build.version} was published before: those bytes count\n".encode())
            return
        package = self.builds.package_of(build)
        for _ in range(MOST_TRIES):
            outcome = await self._run(build, "publish", str(package))
            if outcome.code != ExitCode.BLOCKED:
                break
            await asyncio.sleep(self.again_after)
        if outcome.code:
            raise BadContent(outcome.complaint)

    async def _deploy(self, build: Build) -> tuple[str, str]:
        """Return the environment to which a build is being deployed, or "" and perhaps why to none."""
        repository = self.builds.cluster.fleet.repository.get(build.repository)
        if not repository or not repository.deploys(build.ref):
            return "", ""
        environment, reason = repository.auto_deploy, f"build {build.id[:SHORT]}, pushed to {build.ref}"
        if self.is_ordered(environment, build.app, reason):
            return environment, ""
        order = ("deploy", build.app, build.version, "-e", environment, "--yes", "--no-wait", "--reason", reason)
        outcome = await self._run(build, *order)
        return ("", f"not deployed to {environment}: {outcome.complaint}") if outcome.code else (environment, "")

    async def _run(self, build: Build, *arguments: str) -> Outcome:
        await self._hear(build, f"$ clarion {' '.join(arguments)}\n".encode())
        return await self.clarion.run(arguments, partial(self._hear, build))

    async def _hear(self, build: Build, said: bytes) -> None:
        await self.builds.do(lambda: log_file.append(self.builds.folder(build), said))

    async def _end(self, build: Build, status: BuildStatus, reason: str, deployed_to: str) -> None:
        if reason:
            _log.warning("build.ended", build=build.id, status=status.value, reason=reason)
            await self.builds.do(lambda: self.builds.note(build, reason))
        queue = self.builds.queue
        await self.builds.change(lambda: queue.publish_ended(build.id, status, reason=reason, deployed_to=deployed_to))
        await self.builds.do(lambda: self.builds.drop_package(build))


def is_published(cluster: Cluster, build: Build) -> bool:
    """Return whether this commit is published under its own number; of a tag, which can be moved, bytes decide."""
    if build.version != build.commit[: len(build.version)]:
        return False
    return any(release.version == build.version for release in cluster.repository.releases(build.app))


def check(builds: Builds, build: Build) -> None:
    """Let a package through that is of the app and version that its push stands for.

    Raises:
        BadContent: it is of another, or not there; a builder may not choose what is published or deployed.
        BadManifest: its manifest breaks a rule.
        OperatorError: what was pushed cannot be a version.
    """
    package, manifest = builds.accept_package(build)
    if not manifest.exists():
        raise BadContent("what the builder handed over is not there any more", hint="Start the build again.")
    listing = manifest.read_bytes()
    contents = read_manifest(listing, reference_to(listing))
    wanted = (build.app, version_of(build.ref, build.commit))
    # What the builder called it counts, too: by that name it is deployed.
    for made in ((contents.app, contents.version), (build.app, build.version)):
        if made != wanted:
            said = f"the build made {' '.join(made)}, and not {' '.join(wanted)}"
            raise BadContent(said, hint=f"Look into {package}.")
