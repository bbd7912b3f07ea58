"""Build what is in force once more, with today's upstream packages, and say whether the same comes out.

A rebuild that differs works: it says what has moved. One that cannot be built, or whose tests fail, is broken: at this
hour nobody could make a new release of the app. What it is made of is kept, so that the next night can name what moved.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clarion_controller.as_owner import as_owner_of
from clarion_controller.builds import checkout, sandbox
from clarion_controller.builds.limits import Limits
from clarion_controller.cluster import Cluster
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.nightly.blame import Baseline, blamed
from clarion_controller.nightly.compare import Verdict, compare
from clarion_controller.nightly.contents import Contents, from_file
from clarion_controller.nightly.dependencies import dependencies_of
from clarion_controller.nightly.history import last_that_worked
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.nightly.without_tests import copy_without_tests
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.store import Span
from clarion_protocol.errors import BuildFailed
from clarion_protocol.manifest_file import read_manifest, reference_to
from clarion_protocol.published import Release


@dataclass(frozen=True)
class Found:
    """What came of rebuilding one version."""

    version: str
    result: Result
    reason: str
    findings: tuple[str, ...] = ()
    log: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    dependencies: Mapping[str, str] = field(default_factory=dict)


def rebuild(night: Night, app: str, earlier: Sequence[Report]) -> Check:
    """Rebuild each version of an app that is in force anywhere; `earlier` are reports, newest first.

    Raises:
        ClarionError: something was in the way that says nothing about the app.
    """
    name = f"rebuild {app}"
    versions = sorted({each.version for each in night.in_force if each.app == app})
    repository = repository_of(night, app)
    if repository is None:
        hint = f'Add [repository.{app}] with its url to fleet.toml, or one with app = "{app}".'
        return Check(
            name=name, result=Result.SKIPPED, reason="no repository of fleet.toml has its source", findings=(hint,)
        )
    began = time.monotonic()
    found = [_Rebuild(night, repository, app, version).run(earlier) for version in versions]
    return _check(name, found, time.monotonic() - began)


def repository_of(night: Night, app: str) -> Repository | None:
    """Return where the source of an app lies."""
    found = night.fleet.repository.items()
    return next((repository for name, repository in found if (repository.app or name) == app), None)


def _check(name: str, found: Sequence[Found], seconds: float) -> Check:
    """Return one check for all versions; where there are several, each line says of which it speaks."""

    def marked(each: Found, text: str) -> str:
        return f"{each.version}: {text}" if len(found) > 1 else text

    broken = [each for each in found if each.result is Result.BROKEN]
    return Check(
        name=name,
        result=Result.BROKEN if broken else Result.WORKS,
        reason="; ".join(marked(each, each.reason) for each in broken or found),
        findings=tuple(marked(each, line) for each in found for line in each.findings),
        log="\n".join(each.log for each in broken),
        seconds=seconds,
        parts={marked(each, part): spent for each in found for part, spent in each.parts.items()},
        dependencies={each.version: each.dependencies for each in found if each.dependencies},
    )


@dataclass(frozen=True)
class _Rebuild:
    """One version of one app, built anew."""

    night: Night
    repository: Repository
    app: str
    version: str

    def run(self, earlier: Sequence[Report]) -> Found:
        """Fetch, build, compare."""
        self.night.log(f"rebuild {self.app} {self.version}")
        release = Cluster.at(self.night.home).release(self.app, self.version)
        published = self._published(release)
        clock = time.monotonic()
        source = self._fetch()
        fetched = time.monotonic()
        try:
            built = self._build(source.folder, self._folder("out"))
        except BuildFailed as error:
            return self._broken(error, source.folder, self._baseline(earlier, published))
        done = time.monotonic()
        verdict = compare(published, built, lambda path: (source.folder / path).is_file())
        parts = {"fetch": fetched - clock, "build": done - fetched, "compare": time.monotonic() - done}
        return self._works(verdict, parts)

    def _works(self, verdict: Verdict, parts: Mapping[str, float]) -> Found:
        return Found(self.version, Result.WORKS, verdict.phrase, verdict.findings, "", parts, verdict.dependencies)

    def _broken(self, error: BuildFailed, source: Path, baseline: Baseline) -> Found:
        """Say what moved since it could be built: what is packed when the app's tests are left out shows it."""
        blame = blamed(error, baseline, lambda: self._made_of(source))
        return Found(self.version, Result.BROKEN, blame.reason, blame.findings, error.message)

    def _made_of(self, source: Path) -> Mapping[str, str]:
        without = self._folder("without-tests")
        copy_without_tests(source, without)
        built = self._build(without, self._folder("out-without-tests"))
        return dependencies_of(built.files, built.read)

    def _baseline(self, earlier: Sequence[Report], published: Contents) -> Baseline:
        """Return what the app was made of when it could be built: in the last such night, else when published."""
        found = last_that_worked(f"rebuild {self.app}", earlier)
        if found and self.version in found[1].dependencies:
            return Baseline(f"the night of {found[0]}", found[1].dependencies[self.version])
        return Baseline("it was published", dependencies_of(published.files, published.read))

    def _fetch(self) -> checkout.Checkout:
        credential = self.repository.credential
        with as_owner_of(self.night.home):  # else fleet.toml could have root send its own secrets to any remote
            opened = credential.reveal(self.night.home) if credential else ""
        wanted = checkout.Wanted(version=self.version)
        return checkout.fetch(self.repository, wanted, self._folder("source"), opened)

    def _build(self, source: Path, out: Path) -> Contents:
        limits = Limits.of(self.repository)
        built = sandbox.build(source, out, self.version, limits, lambda _: None)
        packed = built.manifest.read_bytes()
        return Contents(read_manifest(packed, reference_to(packed)), from_file(built.package))

    def _published(self, release: Release) -> Contents:
        store = store_of(self.night.fleet.store, self.night.home)
        manifest = read_manifest(b"".join(store.get(release.manifest_path)), release.manifest)

        def fetch(span: Span) -> list[bytes]:
            return list(store.get(release.path, span))

        return Contents(manifest, fetch)

    def _folder(self, name: str) -> Path:
        """Return where a new folder may be made; the user of builds comes by, whatever root's umask is."""
        above = self.night.work / f"{self.app}-{self.version}"
        above.mkdir(exist_ok=True)
        above.chmod(0o711)
        return above / name
