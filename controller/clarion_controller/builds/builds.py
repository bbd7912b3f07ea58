"""The builds of one controller: the queue, a folder for each, and who waits for something to change."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from clarion_controller.builds import log_file
from clarion_controller.builds.build import Build, BuildStatus
from clarion_controller.builds.build_queue import BuildQueue
from clarion_controller.cluster import Cluster
from clarion_controller.durable_files import PARTIAL, make_folder
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.errors import ClarionError
from clarion_protocol.published import MANIFEST_SUFFIX, PACKAGE_SUFFIX

# A builder hands over under these names; what is looked at and published lies under names that it cannot write to.
HANDED_PACKAGE, HANDED_MANIFEST = "handed.package", "handed.manifest"
PACKAGE, MANIFEST = f"package{PACKAGE_SUFFIX}", f"package{MANIFEST_SUFFIX}"

_T = TypeVar("_T")


class Builds:
    """What the parts of a controller that have to do with builds share."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.queue = BuildQueue(cluster.home / "state" / "builds.db")
        self._folders = cluster.home / "state" / "builds"
        make_folder(self._folders, 0o700)
        for left in self._folders.glob(f"*/{PARTIAL}*"):
            left.unlink()  # a crash came between
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="builds")
        self.changed = asyncio.Event()
        self.is_ending = False
        self.builder_seen: float | None = None  # UTC seconds

    def end(self) -> None:
        """Send builders that wait for a job away: the controller stops."""
        self.is_ending = True
        self.wake()

    def close(self) -> None:
        """Let go of the threads and the database."""
        self._threads.shutdown()
        self.queue.close()

    async def do(self, call: Callable[[], _T]) -> _T:
        """Return what `call`, which may wait for a disk, returns in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def change(self, call: Callable[[], _T]) -> _T:
        """Return what `call` returns in a thread, and wake who waits for a change of the queue."""
        try:
            return await self.do(call)
        finally:
            self.wake()

    def wake(self) -> None:
        """Wake who waits for a change of the queue."""
        self.changed.set()
        self.changed = asyncio.Event()

    def folder(self, build: Build) -> Path:
        """Return the folder of a build, made if it is not there."""
        folder = self._folders / build.id
        make_folder(folder, 0o700)
        return folder

    def note(self, build: Build, line: str) -> None:
        """Add a line of ours to a build's log."""
        self.keep(build, f"{line}\n".encode())

    def keep(self, build: Build, said: bytes) -> None:
        """Add to a build's log."""
        log_file.append(self.folder(build), said)

    def cancel(self, id_: str, by: str) -> Build:
        """Cancel a build, or the deployment that it waits for, which its log says.

        Raises:
            UnknownName: there is no such build.
            Blocked: it is too late.
        """
        build = self.queue.cancel(id_, by)
        if build.status is BuildStatus.SUCCEEDED:
            self.note(build, build.reason)
        return build

    def give_up_overdue(self) -> list[Build]:
        """Return the builds that failed now because they run longer than fleet.toml lets them."""
        try:
            known = self.cluster.fleet.repository
        except ClarionError:
            return []  # somebody is just editing it
        # What a repository that is gone has built is not taken anyway.
        return self.queue.give_up_overdue(lambda name: float((known.get(name) or Repository(url="/")).timeout))

    def package_of(self, build: Build) -> Path:
        """Return where the accepted package of a build lies."""
        return self.folder(build) / PACKAGE

    def accept_package(self, build: Build) -> tuple[Path, Path]:
        """Return the package and the manifest that a builder handed over, out of its reach from now on."""
        folder = self.folder(build)
        for handed, accepted in ((HANDED_PACKAGE, PACKAGE), (HANDED_MANIFEST, MANIFEST)):
            if (folder / handed).exists():
                (folder / handed).replace(folder / accepted)
        return folder / PACKAGE, folder / MANIFEST

    def drop_package(self, build: Build) -> None:
        """Remove what a builder handed over; its log stays."""
        for name in (HANDED_PACKAGE, HANDED_MANIFEST, PACKAGE, MANIFEST):
            (self.folder(build) / name).unlink(missing_ok=True)

    def drop_ended(self) -> None:
        """Remove what builders handed over for builds that ended since otherwise than by being published."""
        for build, _ in self.queue.untold():
            if build.status.is_final:
                self.drop_package(build)

    def app_of(self, repository: str) -> str:
        """Return which app is made from a repository."""
        found = self.cluster.fleet.repository.get(repository)
        return (found and found.app) or repository

    def prune(self) -> None:
        """Forget old builds, with their folders."""
        folders = list(self._folders.iterdir())  # first: whose build is made from here on is not among them
        kept = self.queue.prune()
        for folder in folders:
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
