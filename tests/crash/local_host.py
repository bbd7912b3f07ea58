"""One deployment on one host, start to end in one thread, so that it can be killed at a chosen place.

    python -m tests.crash.local_host FOLDER VERSION

THE LIST, the journal, the disk and the package are real. The store is a folder, and the
service manager writes into the file `running` what it started.
"""

# ruff: noqa: D102 (most methods are those of the seams that they stand in for)

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clarion_agent import deploy, durable, resume
from clarion_agent.app_folder import AppFolder
from clarion_agent.attempt import Host, Staging, Switch
from clarion_agent.config import AppRules, Config
from clarion_agent.journal import Intent, Phase
from clarion_agent.stages.restart import UnitState
from clarion_agent.stages.run_tests import Job, Outcome
from clarion_agent.steps import Ending
from clarion_agent.stopper import Stopper
from clarion_agent.tree import differences
from clarion_protocol import strict_json
from clarion_protocol.amounts import Size
from clarion_protocol.documents import Deployment, Plan, Progress, Targets
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.policy import Policy
from clarion_protocol.published import Release
from clarion_protocol.words import HostStatus, release_id

APP, ENVIRONMENT, STREAM = "shop", "production", "production/shop"
CLUSTER, HOST = "c" * 32, "a" * 32
OLD, NEW = "1-1.0.0", "2-2.0.0"
BEGIN = "begin"


@dataclass(frozen=True)
class FolderNet:
    """A store that is a folder; reports go nowhere."""

    folder: Path

    def refresh(self) -> None:
        pass

    def fetch(self, path: str, into: Path, spans: Sequence[tuple[int, int]], *, total: int) -> None:
        content = (self.folder / path).read_bytes()
        with into.open("wb") as file:
            for offset, length in spans:
                file.seek(offset)
                file.write(content[offset : offset + length])

    def report(self, progress: Progress) -> None:
        pass


@dataclass(frozen=True)
class FolderBook:
    """Metadata that is a file beside each package."""

    folder: Path

    def find(self, app: str, version: str) -> Release:
        return strict_json.decode((self.folder / f"{version}.json").read_bytes(), Release, max_bytes=10_000)

    def policy(self, environment: str) -> Policy:
        raise NotImplementedError


@dataclass(frozen=True)
class FileServices:
    """A service manager whose one service is a line in the file `running`."""

    current: Path
    running: Path

    def restart(self, unit: str) -> None:
        temporary = self.running.with_suffix(".new")
        temporary.write_text(os.path.realpath(self.current), "utf-8")
        temporary.replace(self.running)

    def stop(self, unit: str) -> None:
        self.running.unlink(missing_ok=True)

    def state(self, unit: str) -> UnitState:
        return UnitState(is_active=self.running.exists())

    def log_tail(self, unit: str) -> str:
        return ""


class NoTests:
    """A sandbox that finds everything in order."""

    name = "none"

    def run(self, job: Job, go_on: Callable[[], None]) -> Outcome:
        return Outcome(None, "")

    def sweep(self) -> None:
        pass


def host_of(folder: Path) -> Host:
    """Return the host whose disk is `folder`."""
    config = Config(
        state_dir=str(folder / "state"),
        apps_root=str(folder / "srv"),
        disk_reserve=Size(0),
        app={APP: AppRules(units=("shop.service",))},
    )
    services = FileServices(app_folder(folder).current_link, folder / "running")
    return Host(config, FolderNet(folder / "store"), FolderBook(folder / "store"), services, NoTests(), NoTests())


def app_folder(folder: Path) -> AppFolder:
    """Return where the app lives on the host whose disk is `folder`."""
    return AppFolder(folder / "srv" / APP)


def deploy_version(folder: Path, version: str) -> Ending:
    """Stage and switch to `version`."""
    host, app = host_of(folder), app_folder(folder)
    order = _order(host.book.find(APP, version))
    app.prepare()
    staged = deploy.stage(Staging(order, app, host, lambda: None))
    if staged.status is not HostStatus.STAGED:
        return staged
    return deploy.switch(Switch(_intent(order, app), app, host))


def recover(folder: Path) -> Ending | None:
    """Do what an agent does first when it starts."""
    app = app_folder(folder)
    app.sweep()
    return resume.recover(app, host_of(folder), Stopper(), time.time())


def what_is_wrong(folder: Path) -> str | None:
    """Return why the app is not one whole release, or None if it is."""
    app = app_folder(folder)
    release = app.current()
    if release is None:
        return "there is no current release"
    packed = app.manifest_file(release).read_bytes()
    manifest = read_manifest(packed, reference_to(packed))
    root = os.open(app.release_folder(release), os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = differences(manifest, root)
    finally:
        os.close(root)
    return f"{release} is not whole: {found}" if found else None


def what_runs(folder: Path) -> str:
    """Return the id of the release that the service was started from."""
    return Path((folder / "running").read_text("utf-8")).name


def careless_symlink(link: Path, target: str) -> None:
    """Replace a link as `ln -sfn` once did: for a moment there is none. The negative control."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _order(release: Release) -> Deployment:
    now = int(time.time())
    return Deployment(
        id=f"{release.release:032x}",
        cluster=CLUSTER,
        environment=ENVIRONMENT,
        stream=STREAM,
        epoch=1,
        seq=release.release,
        app=APP,
        version=release.version,
        release=release.release,
        path=release.path,
        length=release.length,
        sha256=release.sha256,
        targets=Targets(hosts=[HOST]),
        plan=Plan(),
        issued_at=now,
        not_before=now,
        expires=now + 600,
    )


def _intent(order: Deployment, app: AppFolder) -> Intent:
    return Intent(
        app=APP,
        deployment=order.id,
        digest="0" * 64,
        stream=STREAM,
        before=app.current(),
        to=release_id(order.release, order.version),
        phase=Phase.SWITCHING,
        lease_until=order.expires,
    )


def main() -> None:
    """Run one deployment; a folder `begin` marks in a trace where it begins."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("version")
    parser.add_argument("--careless", action="store_true")
    options = parser.parse_args()
    if options.careless:
        durable.replace_symlink = careless_symlink
    (options.folder / BEGIN).mkdir()
    ending = deploy_version(options.folder, options.version)
    if ending.status is not HostStatus.COMMITTED:
        raise SystemExit(ending.reason)


if __name__ == "__main__":
    main()
