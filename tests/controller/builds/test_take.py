"""Taking a package out of a folder that a build could write to: a table of what it may have put there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.controller.builds.hostile import left_in

from clarion_controller.build import build
from clarion_controller.builds.take import take
from clarion_protocol.errors import BadContent, BadManifest, BuildFailed, PackageError

PACKAGE, MANIFEST = "shop-1.0.tar.zst", "shop-1.0.manifest.json.zst"
LIMIT = 10_000


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Return a folder with a package in it that is in order."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "clarion.toml").write_text('[app]\nname = "shop"\n')
    build(source, tmp_path / "found", "1.0")
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_text("the machine's own")
    return tmp_path / "found"


def replace(found: Path, name: str) -> Path:
    """Remove a file; return its path."""
    (found / name).unlink()
    return found / name


def link_to(name: str) -> Callable[[Path], None]:
    """Return what puts a link in the place of a file."""
    return lambda found: replace(found, name).symlink_to(found.parent / "victim")


def odd_link(found: Path) -> None:
    """Give both a name that is neither text nor harmless on a terminal, and have one lead elsewhere."""
    stem = os.fsdecode(b"\xff\x1b[2J")
    (found / PACKAGE).rename(found / f"{stem}.tar.zst")
    replace(found, MANIFEST)
    (found / f"{stem}.manifest.json.zst").symlink_to(found.parent / "victim")


def hard_link(found: Path) -> None:
    """Give the package a second name."""
    os.link(found.parent / "victim", replace(found, PACKAGE))


def rename(found: Path, app: str, version: str) -> None:
    """Let a package look like another."""
    (found / PACKAGE).rename(found / f"{app}-{version}.tar.zst")
    (found / MANIFEST).rename(found / f"{app}-{version}.manifest.json.zst")


ATTACKS: dict[str, tuple[Callable[[Path], object], type[PackageError], str]] = {
    "no package": (lambda found: replace(found, PACKAGE), BuildFailed, "where one package"),
    "no manifest": (lambda found: replace(found, MANIFEST), BuildFailed, "where one package"),
    "nothing": (lambda found: rename(found / "..", "", "") if not replace(found, PACKAGE) else replace(found, MANIFEST),
                BuildFailed, "left nothing"),
    "a second package": (lambda found: (found / "bank-1.0.tar.zst").touch(), BuildFailed, "where one package"),
    "a file beside it": (lambda found: (found / "x\x1b[2J").touch(), BuildFailed, r"'x\\x1b\[2J'"),
    "a link for a package": (link_to(PACKAGE), BuildFailed, "no plain file"),
    "a link for a manifest": (link_to(MANIFEST), BuildFailed, "no plain file"),
    "a link by a name that is no text": (odd_link, BuildFailed, r"made '\\udcff\\x1b\[2J\.manifest"),
    "a pipe for a package": (lambda found: os.mkfifo(replace(found, PACKAGE)), BuildFailed, "no plain file"),
    "a folder for a manifest": (lambda found: replace(found, MANIFEST).mkdir(), BuildFailed, "no plain file"),
    "a file of this machine": (hard_link, BuildFailed, "no plain file of one name"),
    "a package that is too large": (
        lambda found: (found / PACKAGE).write_bytes(bytes(LIMIT + 1)), BuildFailed, "at most are 10.0 KB"
    ),
    "the name of another app": (lambda found: rename(found, "bank", "1.0"), BuildFailed, "calls it shop-1.0"),
    "the name of another version": (lambda found: rename(found, "shop", "2.0"), BuildFailed, "wanted is version 1.0"),
    "a manifest that is none": (lambda found: (found / MANIFEST).write_bytes(b"x"), BadManifest, "no zstd frame"),
}  # fmt: skip


@pytest.mark.parametrize("what", ATTACKS)
def test_what_is_not_taken(found: Path, what: str) -> None:
    """Nothing is taken but one package with its manifest, and the refusal names what is wrong."""
    attack, kind, message = ATTACKS[what]
    attack(found)
    out = found.parent / "out"
    with pytest.raises(kind, match=message):
        take(found, out, "1.0", LIMIT)
    assert left_in(out) == []
    assert (found.parent / "victim").read_text() == "the machine's own"


def test_what_is_taken_is_a_copy(found: Path) -> None:
    """What comes out has our owner and our mode, and no tie to the folder of the build."""
    (found / PACKAGE).chmod(0o4777)
    before = (found / PACKAGE).read_bytes()
    package, listing, manifest = take(found, found.parent / "out", "1.0", LIMIT)
    assert (manifest.app, manifest.version) == ("shop", "1.0")
    assert package.read_bytes() == before
    assert package.stat().st_mode & 0o7777 == listing.stat().st_mode & 0o7777 == 0o644
    assert package.stat().st_ino != (found / PACKAGE).stat().st_ino


def test_another_version_than_the_wanted_one(found: Path) -> None:
    """A package that is in order, but of a version that nobody asked for, is not taken."""
    with pytest.raises((BuildFailed, BadContent), match=r"wanted is version 3\.0"):
        take(found, found.parent / "out", "3.0", LIMIT)
