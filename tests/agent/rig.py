"""A host in memory and on disk: real agent, real files, and small stand-ins behind its seams."""

# ruff: noqa: D102 (most methods are those of the seams that they stand in for)

from __future__ import annotations

import io
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from clarion_agent.attempt import Host
from clarion_agent.config import AppRules, Config
from clarion_agent.core import Core
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import Identity, Record
from clarion_agent.stages.restart import UnitState
from clarion_agent.stages.run_tests import Job, Outcome
from clarion_controller.building.pack import pack
from clarion_controller.building.scan import scan
from clarion_protocol.amounts import Size
from clarion_protocol.documents import (
    Beacon,
    Deployment,
    Head,
    Plan,
    Progress,
    ReleaseRef,
    Signal,
    Targets,
    digest_of,
)
from clarion_protocol.errors import OutOfTime, RestartFailed, StoreUnavailable, UnknownPackage
from clarion_protocol.keys import SigningKey
from clarion_protocol.manifest_file import reference_to, write_manifest
from clarion_protocol.policy import Policy
from clarion_protocol.published import Release, manifest_path, package_path
from clarion_protocol.words import HostStatus, Intent, Verb, new_id, release_id

CLUSTER, HOST, ENVIRONMENT, APP = "c" * 32, "a" * 32, "production", "shop"
OTHER_HOST = "b" * 32
STREAM = f"{ENVIRONMENT}/{APP}"
CLARION_TOML = """
[app]
name = "shop"
units = ["shop.service"]
keep_releases = {keep}
[test]
package = ["self-test"]
[health]
min_healthy_time = "0s"
healthy_deadline = "100ms"
interval = "50ms"
"""


@dataclass(frozen=True)
class Package:
    """A published release and the bytes of its files."""

    release: Release
    archive: bytes
    manifest: bytes

    @property
    def ref(self) -> ReleaseRef:
        return ReleaseRef(self.release.version, self.release.release, self.release.sha256)

    @property
    def id(self) -> str:
        return release_id(self.release.release, self.release.version)


def package_of(folder: Path, version: str, release: int, files: Mapping[str, str]) -> Package:
    """Build the package of `files` with the real packer."""
    tree = folder / f"source-{release}-{version}"
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content, "utf-8")
    archive = io.BytesIO()
    manifest = pack(tree, scan(tree, ()), archive, APP, version)
    packed = write_manifest(manifest)
    published = Release(
        app=APP,
        version=version,
        release=release,
        length=manifest.archive.length,
        sha256=manifest.archive.sha256,
        manifest=reference_to(packed),
        published_at=0,
    )
    return Package(published, archive.getvalue(), packed)


@dataclass
class Store:
    """The net half: serves what is in `files`, and keeps what is reported."""

    files: dict[str, bytes] = field(default_factory=dict)
    reports: list[Progress] = field(default_factory=list)
    fetched: int = 0
    is_away: bool = False
    on_fetch: Callable[[], None] = lambda: None
    on_refresh: Callable[[], None] = lambda: None
    on_report: Callable[[Progress], None] = lambda progress: None

    def refresh(self) -> None:
        if self.is_away:
            raise StoreUnavailable("the store does not answer")
        self.on_refresh()

    def fetch(self, path: str, into: Path, spans: Sequence[tuple[int, int]], *, total: int) -> None:
        self.on_fetch()
        self.refresh()
        content = self.files[path]
        into.touch()
        with into.open("r+b") as file:
            for offset, length in spans:
                file.seek(offset)
                file.write(content[offset : offset + length])
                self.fetched += length

    def report(self, progress: Progress) -> None:
        self.reports.append(progress)
        self.on_report(progress)


@dataclass
class Book:
    """The package metadata."""

    its_policy: Policy
    releases: dict[str, Release] = field(default_factory=dict)
    has_expired: bool = False

    def find(self, app: str, version: str) -> Release:
        if self.has_expired:
            raise OutOfTime("the timestamp metadata expired")
        if (app, version) not in {(APP, known) for known in self.releases}:
            raise UnknownPackage(f"{app} {version} is not published")
        return self.releases[version]

    def policy(self, environment: str) -> Policy:
        return self.its_policy


@dataclass
class Services:
    """A service manager whose services are what `current` pointed to when they were started.

    A release whose version is in `broken` does not start; one in `sick` starts and is never active.
    """

    current: Path
    broken: set[str] = field(default_factory=set)
    sick: set[str] = field(default_factory=set)
    ill_looks: int = 0  # so many times it is asked for and not active
    runs: str | None = None
    restarts: list[str] = field(default_factory=list)
    on_restart: Callable[[], None] = lambda: None

    def restart(self, unit: str) -> None:
        self.on_restart()
        self.runs = self.current.readlink().name
        self.restarts.append(self.runs)
        if self._version() in self.broken:
            raise RestartFailed(f"{unit} did not start")

    def stop(self, unit: str) -> None:
        self.runs = None

    def state(self, unit: str) -> UnitState:
        if self.ill_looks:
            self.ill_looks -= 1
            return UnitState(is_active=False)
        is_well = self.runs is not None and self._version() not in self.broken | self.sick
        return UnitState(is_well, len(self.restarts) if is_well else 0)

    def log_tail(self, unit: str) -> str:
        return f"{unit} says: {self.runs}"

    def _version(self) -> str:
        return self.runs.partition("-")[2] if self.runs else ""


@dataclass
class Box:
    """A sandbox that runs nothing; jobs on releases in `failing` fail."""

    failing: set[str] = field(default_factory=set)
    jobs: list[Job] = field(default_factory=list)
    on_run: Callable[[], None] = lambda: None
    name: str = "none"

    def run(self, job: Job, go_on: Callable[[], None]) -> Outcome:
        self.on_run()
        go_on()
        self.jobs.append(job)
        failed = job.release.name.partition("-")[2] in self.failing
        return Outcome("exit code 1" if failed else None, "self-test printed this")

    def sweep(self) -> None:
        pass


class World:
    """One host, its cluster's keys, and a store with packages."""

    def __init__(self, folder: Path, *, keep: int = 5) -> None:
        self.folder = folder
        self.keep = keep
        self.clock = time.time()
        self.deployer, self.signaller, self.beaconer = (SigningKey.generate() for _ in range(3))
        self.policy = Policy(
            cluster=CLUSTER,
            environment=ENVIRONMENT,
            deployers=[self.deployer.public_hex],
            signals=[self.signaller.public_hex],
            beacons=[self.beaconer.public_hex],
        )
        self.config = Config(
            state_dir=str(folder / "state"),
            apps_root=str(folder / "srv"),
            disk_reserve=Size(0),
            app={APP: AppRules(units=("shop.service",))},
        )
        self.store = Store()
        self.book = Book(self.policy)
        self.services = Services(folder / "srv" / APP / "current")
        self.box = Box()
        self.orders: list[Deployment] = []
        self.seqs = itertools.count(1)
        FloorFiles(self.config.trust).begin()
        self.core = self.new_core()

    @property
    def app(self) -> Path:
        return self.folder / "srv" / APP

    def new_core(self) -> Core:
        """Start an agent on what is on the disk."""
        host = Host(self.config, self.store, self.book, self.services, self.box, self.box)
        core = Core(self.config, an_identity(), self.store, host=host, clock=lambda: self.clock)
        core.recover()
        return core

    def restart_agent(self) -> None:
        """End the agent and start another."""
        self.core.close()
        self.core = self.new_core()
        self.settle()

    def publish(self, version: str, release: int, **files: str) -> Package:
        """Put a release into the store and the metadata."""
        content = {"clarion.toml": CLARION_TOML.format(keep=self.keep), "app.py": f"VERSION = {version!r}\n" * 200}
        package = package_of(self.folder, version, release, {**content, **files})
        self.store.files[package_path(APP, version)] = package.archive
        self.store.files[manifest_path(APP, version)] = package.manifest
        self.book.releases[version] = package.release
        return package

    def order(self, package: Package, **changes: object) -> Deployment:
        """Return a deployment of `package` to this host."""
        now = int(self.clock)
        order = Deployment(
            id=new_id(),
            cluster=CLUSTER,
            environment=ENVIRONMENT,
            stream=STREAM,
            epoch=1,
            seq=next(self.seqs),
            app=APP,
            version=package.release.version,
            release=package.release.release,
            path=package.release.path,
            length=package.release.length,
            sha256=package.release.sha256,
            targets=Targets(hosts=[HOST]),
            plan=Plan(),
            issued_at=now,
            not_before=now,
            expires=now + 86_400,
        )
        self.orders.append(msgspec.structs.replace(order, **changes))
        return self.orders[-1]

    def signal(self, order: Deployment, verb: Verb, **changes: object) -> Signal:
        """Return a signal inside `order`, for this host."""
        now = int(self.clock)
        signal = Signal(
            cluster=CLUSTER,
            environment=ENVIRONMENT,
            stream=STREAM,
            seq=next(self.seqs),
            deployment=order.id,
            deployment_sha256=digest_of(order),
            verb=verb,
            targets=Targets(hosts=[HOST]),
            issued_at=now,
            expires=now + 60,
        )
        return msgspec.structs.replace(signal, **changes)

    def send(self, document: Deployment | Signal | Beacon) -> bytes:
        """Seal a document with the key that it is due, and offer it."""
        raw = self.seal(document)
        self.core.offer(raw)
        return raw

    def seal(self, document: Deployment | Signal | Beacon) -> bytes:
        keys = {Deployment: self.deployer, Signal: self.signaller, Beacon: self.beaconer}
        return document.sealed(keys[type(document)])

    def beacon(self, **heads: Head) -> Beacon:
        return Beacon(cluster=CLUSTER, environment=ENVIRONMENT, time=int(self.clock), heads={STREAM: heads["shop"]})

    def settle(self, seconds: float = 20.0) -> None:
        """Wait until this host has nothing left to do."""
        assert self.core.wait_until_idle(seconds), f"still at it: {self.statuses()}"

    def deploy(self, package: Package, **changes: object) -> Deployment:
        """Order `package`, stage it and give the lease; return once this host has settled."""
        order = self.order(package, **changes)
        self.send(order)
        self.send(self.signal(order, Verb.STAGE))
        self.settle()
        self.send(self.signal(order, Verb.LEASE))
        self.settle()
        return order

    def rollback(self, package: Package, **changes: object) -> Deployment:
        """Order to go back to `package`, as `clarion rollback` does."""
        return self.deploy(package, intent=Intent.ROLLBACK, **changes)

    def current(self) -> str | None:
        link = self.app / "current"
        return link.readlink().name if link.is_symlink() else None

    def statuses(self) -> list[HostStatus]:
        """Return what was reported, without repetitions in a row."""
        return [status for status, _ in itertools.groupby(report.status for report in self.store.reports)]

    def last(self) -> Progress:
        return self.store.reports[-1]


def an_identity() -> Identity:
    """Return an identity as a join leaves it."""
    record = Record(
        host=HOST,
        name="web-1",
        cluster=CLUSTER,
        environment=ENVIRONMENT,
        address="127.0.0.1",
        signal_port=7411,
        report_port=7412,
        package_url="http://127.0.0.1:7414",
        server_key="1" * 64,
        transport_public="2" * 64,
    )
    return Identity(record, b"{}", SigningKey.generate(), "3" * 64)


@dataclass
class Gate:
    """Holds a thread at one point until the test lets it go."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(10), "nobody opened the gate"
