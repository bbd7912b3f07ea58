"""What happens to a green build, in order; whatever a crash came between is done again, for each step may be.

1. check     the package is of the app and version that the push stands for
2. publish   `clarion publish`, a child: hashing 450 MB must not hold up a rollout; a commit that was published
             before, from another branch perhaps, stays what it is
3. deploy    `clarion deploy`, a child, if the repository has `auto_deploy` and the branch is the one: auto_deploy.py
4. settle    the build is over, its package leaves the queue's folder

What is not published failed. What is published and cannot be deployed succeeded, and says why it was not, or for what
its deployment waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

import structlog

from clarion_controller.builds.auto_deploy import AutoDeploy
from clarion_controller.builds.build import Build, BuildStatus, version_of
from clarion_controller.builds.builds import Builds
from clarion_controller.builds.run_clarion import Clarion, Outcome
from clarion_controller.builds.standing import Standing
from clarion_controller.cluster import Cluster
from clarion_protocol.errors import BadContent, ClarionError
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.words import ExitCode

AGAIN_AFTER_S = 10.0
MOST_TRIES = 6  # at publishing, while another publisher holds the lock

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AfterBuild:
    """Publishes, and has what is published deployed."""

    builds: Builds
    clarion: Clarion
    auto_deploy: AutoDeploy
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
            await self._end(build, BuildStatus.FAILED, Standing(f"not published: {error.message}"))
        else:
            standing = await self.auto_deploy.begin(build, partial(self._hear, build))
            await self._end(build, BuildStatus.SUCCEEDED, standing)

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

    async def _run(self, build: Build, *arguments: str) -> Outcome:
        await self._hear(build, f"$ clarion {' '.join(arguments)}\n".encode())
        return await self.clarion.run(arguments, partial(self._hear, build))

    async def _hear(self, build: Build, said: bytes) -> None:
        await self.builds.do(lambda: self.builds.keep(build, said))

    async def _end(self, build: Build, status: BuildStatus, standing: Standing) -> None:
        if standing.reason:
            _log.warning("build.ended", build=build.id, status=status.value, reason=standing.reason)
            await self.builds.do(lambda: self.builds.note(build, standing.reason))
        queue = self.builds.queue
        await self.builds.change(lambda: queue.publish_ended(build.id, status, **vars(standing)))
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
