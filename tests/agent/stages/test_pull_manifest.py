"""A manifest is pulled by pages where that is less, and whatever an index says, only the signed one counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.rig import Package, World

from clarion_protocol.manifest_index import BEGINNING, read_index
from clarion_protocol.words import HostStatus

# Enough that a manifest's file is far longer than its beginning.
FILES = {f"lib/file_{number:04}.txt": f"{number}" for number in range(4_000)}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Package, Package]:
    """Return two releases that differ in one file."""
    world = World(tmp_path_factory.mktemp("build"))
    first = world.publish("1.0.0", 1, **FILES)
    second = world.publish("2.0.0", 2, **{**FILES, "lib/file_2000.txt": "another"})
    world.core.close()
    return first, second


@pytest.fixture
def world(tmp_path: Path, packages: tuple[Package, Package]) -> Iterator[World]:
    """Return a host that runs the first release."""
    world = World(tmp_path)
    for package in packages:
        put(world, package)
    world.deploy(packages[0])
    yield world
    world.core.close()


def put(world: World, package: Package) -> None:
    """Put a package into the store and the metadata of `world`."""
    release = package.release
    world.store.files |= {release.path: package.archive, release.manifest_path: package.manifest}
    world.book.releases[release.version] = release


def kept(world: World, package: Package) -> bytes:
    """Return the manifest's file that the host keeps of a release."""
    return (world.app / "state" / f"{package.id}.manifest.json.zst").read_bytes()


def test_an_update_fetches_a_few_pages(world: World, packages: tuple[Package, Package]) -> None:
    """What comes out is what was signed, to the last byte."""
    before = world.store.fetched
    world.deploy(packages[1])
    assert world.last().status is HostStatus.COMMITTED
    assert kept(world, packages[1]) == packages[1].manifest
    assert world.store.fetched - before < BEGINNING + 30_000 < packages[1].release.manifest_length


def test_a_manifest_that_comes_out_wrong_is_fetched_as_a_whole(world: World, packages: tuple[Package, Package]) -> None:
    """Somebody changed the file that is kept here: its pages are no use, and no harm."""
    path = world.app / "state" / f"{packages[0].id}.manifest.json.zst"
    packed = bytearray(path.read_bytes())
    packed[-50_000] ^= 1
    path.write_bytes(packed)
    world.deploy(packages[1])
    assert world.last().status is HostStatus.COMMITTED
    assert kept(world, packages[1]) == packages[1].manifest


def test_an_index_that_lies_brings_nothing_in(world: World, packages: tuple[Package, Package]) -> None:
    """It says of a page that changed that it is one that is here; what is signed decides."""
    before, after = (package.manifest for package in packages)
    old, new = read_index(before, len(before)), read_index(after, len(after))
    changed = next(number for number, page in enumerate(new[1:], 1) if page.digest not in {each.digest for each in old})
    lying = after.replace(new[changed].digest, old[1].digest)
    world.store.files[packages[1].release.manifest_path] = lying
    world.deploy(packages[1])
    assert world.last().status is HostStatus.FAILED
    assert "not the one that was signed" in world.last().reason


def test_a_host_that_has_lost_the_older_manifest_fetches_all(world: World, packages: tuple[Package, Package]) -> None:
    """Nothing is linked then, and nothing fails."""
    (world.app / "state" / f"{packages[0].id}.manifest.json.zst").unlink()
    world.deploy(packages[1])
    assert world.last().status is HostStatus.COMMITTED
    assert {path.stat().st_nlink for path in (world.app / "current" / "lib").iterdir()} == {1}
