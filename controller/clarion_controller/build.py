"""`clarion build`: make a package from an app's source. The same source gives the same bytes.

1. static   look at a copy of the committed files (or of a plain folder): [test] static
2. copy     them once more, to a clean place
3. build    run the app's [build] commands there
4. pack     list what is to be shipped, write the archive and its manifest
5. unit     test where it was built; what that leaves behind is in no package
6. package  unpack what was packed, as a host will, and test that
7. place    move the archive to where it was asked for, then its manifest: who sees that sees both
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clarion_agent.stages.unpack import unpack
from clarion_controller.building.commands import Said, Surroundings, nobody, run_commands
from clarion_controller.building.compare import check_package
from clarion_controller.building.pack import pack
from clarion_controller.building.scan import scan
from clarion_controller.building.source import Source
from clarion_controller.durable_files import disk_trouble
from clarion_protocol.app_config import FILE_NAME, AppConfig, Test, load_app_config
from clarion_protocol.errors import BadConfig, BuildFailed, OperatorError
from clarion_protocol.manifest import Manifest
from clarion_protocol.manifest_file import write_manifest
from clarion_protocol.published import MANIFEST_SUFFIX, PACKAGE_SUFFIX
from clarion_protocol.words import is_version

__all__ = ["BuiltPackage", "build", "check_package"]


@dataclass(frozen=True)
class BuiltPackage:
    """A package on disk: the archive, the manifest beside it, and what both are."""

    package: Path
    manifest: Path
    app: str
    version: str
    sha256: str
    manifest_sha256: str
    length: int
    manifest_length: int
    unpacked: int
    entries: int


def build(
    source: Path, out: Path, version: str | None = None, *, allow_dirty: bool = False, said: Said = nobody
) -> BuiltPackage:
    """Build the app in the folder `source`; write its package and manifest to the folder `out`.

    `said` is given what its commands print, as they print it.

    Raises:
        OperatorError: the source cannot be built as it is; says what to do.
        BuildFailed: a build or test command failed.
        BadManifest: a file cannot be in a package.
        HostError: this machine has no room, or refuses in another way.
    """
    origin = Source.find(source, out, allow_dirty=allow_dirty)
    version = _checked(version or origin.version())
    with tempfile.TemporaryDirectory(prefix="clarion-build-") as work:
        tree, archive = Path(work) / "source", Path(work) / "archive"
        origin.copy(tree)
        config = _read_config(tree, source)
        around = Surroundings({"CLARION_APP": config.app.name, "CLARION_VERSION": version}, said)
        if config.test.static:
            _test(config.test, "static", tree, around)
            shutil.rmtree(tree)
            origin.copy(tree)  # whatever looked at the first copy may have left something in it
        run_commands(config.build.run, tree, config.build.timeout, around)
        if _read_config(tree, source) != config:
            raise BuildFailed(f"the build changed {FILE_NAME}", hint="A host must read what the build read.")
        manifest = _pack(tree, archive, config, version)
        _test(config.test, "unit", tree, around)
        if config.test.package:
            _test(config.test, "package", _unpack(archive, manifest, Path(work) / "shipped"), around)
        return _place(archive, manifest, out)


def _test(test: Test, stage: str, folder: Path, around: Surroundings) -> None:
    """Run the commands of one stage.

    Raises:
        BuildFailed: one failed; the message begins with the stage.
    """
    try:
        run_commands(getattr(test, stage), folder, test.timeout, around)
    except BuildFailed as error:
        raise BuildFailed(f"[test] {stage}: {error.message}", hint=error.hint) from error


def _pack(tree: Path, archive: Path, config: AppConfig, version: str) -> Manifest:
    found = scan(tree, config.build.exclude)
    with archive.open("wb") as file:
        return pack(tree, found, file, config.app.name, version)


def _unpack(archive: Path, manifest: Manifest, folder: Path) -> Path:
    """Unpack like a host: a test that needs an excluded file fails here, not on the fleet."""
    folder.mkdir()
    with archive.open("rb") as file:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack(manifest, file.fileno(), descriptor)
        finally:
            os.close(descriptor)
    return folder


def _place(archive: Path, manifest: Manifest, out: Path) -> BuiltPackage:
    stem = f"{manifest.app}-{manifest.version}"
    package_path, manifest_path = out / f"{stem}{PACKAGE_SUFFIX}", out / f"{stem}{MANIFEST_SUFFIX}"
    listing = write_manifest(manifest)
    with disk_trouble(out):
        out.mkdir(parents=True, exist_ok=True)
        _write_whole(package_path, archive)
        listing_file = archive.with_name("manifest")
        listing_file.write_bytes(listing)
        _write_whole(manifest_path, listing_file)
    return BuiltPackage(
        package=package_path,
        manifest=manifest_path,
        app=manifest.app,
        version=manifest.version,
        sha256=manifest.archive.sha256,
        manifest_sha256=hashlib.sha256(listing).hexdigest(),
        length=manifest.archive.length,
        manifest_length=len(listing),
        unpacked=manifest.totals.unpacked,
        entries=manifest.totals.entries,
    )


def _write_whole(path: Path, content: Path) -> None:
    """Bring `content` to `path` so that nobody ever sees half of it."""
    descriptor, name = tempfile.mkstemp(prefix=".clarion-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file, content.open("rb") as origin:
            while data := origin.read(1 << 20):
                file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read_config(tree: Path, source: Path) -> AppConfig:
    shown = str(source / FILE_NAME)
    try:
        text = (tree / FILE_NAME).read_text("utf-8")
    except FileNotFoundError as error:
        raise BadConfig(f"{shown} does not exist", hint='Its least is:  [app]  name = "shop"') from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{shown} cannot be read: {error}") from error
    return load_app_config(text, shown)


def _checked(version: str) -> str:
    if not is_version(version):
        raise OperatorError(f'"{version[:80]}" is no version', hint="Use letters, digits, and . _ + - ; at most 64.")
    return version
