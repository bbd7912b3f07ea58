"""Publishing, and what a crash, a stranger or a full disk makes of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import pytest
from tests.controller import publish_crashes
from tests.stores import HASTE, Cluster, cluster_in, serving
from tuf.api.metadata import Metadata, Targets

from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.packages import PackageBook
from clarion_controller.publish import packages, publish
from clarion_controller.publishing import tuf_files, tuf_repository
from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_protocol.errors import (
    AlreadyPublished,
    BadConfig,
    BadContent,
    BadEnvelope,
    BadManifest,
    Blocked,
    ClarionError,
    HostError,
    NoCluster,
    NoSpace,
    UnknownName,
    UnknownPackage,
)
from clarion_protocol.frames import compress
from clarion_protocol.manifest import MAX_MANIFEST_BYTES
from clarion_protocol.manifest_file import read_manifest, reference_to

NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Make a cluster without packages."""
    return cluster_in(tmp_path)


def test_a_published_package_is_listed_with_what_was_signed(cluster: Cluster) -> None:
    """App, version, release, hashes, lengths and the time."""
    built = cluster.build("1.0.0")
    published = publish(cluster.home, built.package, built.manifest, NOW)
    release = published.release
    assert not published.is_repeat
    assert (release.app, release.version, release.release) == ("shop", "1.0.0", 1)
    assert (release.sha256, release.length) == (built.sha256, built.length)
    assert (release.manifest_sha256, release.manifest_length) == (built.manifest_sha256, built.manifest_length)
    assert release.published_at == int(NOW.timestamp())
    assert packages(cluster.home) == [release]


def test_releases_rise_by_one_per_app(cluster: Cluster) -> None:
    """Each app counts for itself, and versions need no order."""
    numbers = [cluster.publish(version).release.release for version in ("1.0.0", "2.0.0", "1.0.1")]
    assert numbers == [1, 2, 3]
    assert cluster.publish("7.0.0", app="blog").release.release == 1
    assert [(each.app, each.version) for each in packages(cluster.home)] == [
        ("blog", "7.0.0"),
        ("shop", "1.0.0"),
        ("shop", "2.0.0"),
        ("shop", "1.0.1"),
    ]
    assert [each.app for each in packages(cluster.home, "blog")] == ["blog"]
    with pytest.raises(UnknownName, match="unheard-of"):
        packages(cluster.home, "unheard-of")


def test_the_same_bytes_again_are_a_harmless_repeat(cluster: Cluster) -> None:
    """It says so, keeps the release number, signs nothing, and repairs the files of the store."""
    first = cluster.publish("1.0.0").release
    timestamp = (cluster.home / "store/metadata/timestamp.json").read_bytes()
    target = cluster.repository.packages / first.path
    target.write_bytes(b"rotten")
    again = cluster.publish("1.0.0")
    assert (again.is_repeat, again.release) == (True, first)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == first.sha256
    assert (cluster.home / "store/metadata/timestamp.json").read_bytes() == timestamp


@pytest.mark.parametrize("left", [b"half of it", None], ids=["of other bytes", "of the same bytes"])
def test_what_a_crashed_publish_left_is_in_nobody_s_way(cluster: Cluster, left: bytes | None) -> None:
    """It got as far as the store and no further: nothing signed names other bytes, so they go; the same ones serve."""
    built = cluster.build("1.0.0")
    folder = cluster.repository.packages / "shop"
    folder.mkdir()
    for file in (built.package, built.manifest):
        (folder / file.name).write_bytes(file.read_bytes() if left is None else left)
    assert not publish(cluster.home, built.package, built.manifest).is_repeat
    for file in (built.package, built.manifest):
        assert (folder / file.name).read_bytes() == file.read_bytes()
    (folder / built.manifest.name).unlink()
    assert publish(cluster.home, built.package, built.manifest).is_repeat
    assert (folder / built.manifest.name).read_bytes() == built.manifest.read_bytes()


def test_packages_go_where_fleet_toml_says_and_a_mistake_there_is_told_first(cluster: Cluster) -> None:
    """Before a key is made or anything is signed."""
    built = cluster.build("1.0.0")
    config = cluster.home / "fleet.toml"
    config.write_text(config.read_text() + '[store.s3]\nbucket = "a"\n[store.gcs]\nbucket = "b"\n')
    before = files_of(cluster.home)
    with pytest.raises(BadConfig, match="s3"):
        publish(cluster.home, built.package, built.manifest)
    assert files_of(cluster.home) == before


def test_other_bytes_under_a_published_version_are_refused(cluster: Cluster) -> None:
    """A version is bound to its bytes for ever; nothing in the store changes."""
    cluster.publish("1.0.0")
    before = files_of(cluster.home)
    with pytest.raises(AlreadyPublished, match="release 1") as caught:
        cluster.publish("1.0.0", content=b"other")
    assert "clarion build --version" in str(caught.value.hint)
    assert files_of(cluster.home) == before


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_repeat_renews_a_role_that_grew_old(cluster: Cluster) -> None:
    """The way out for an app whose key lives elsewhere: publish the same package again."""
    built = cluster.build("1.0.0")
    publish(cluster.home, built.package, built.manifest, NOW - timedelta(days=100))
    assert publish(cluster.home, built.package, built.manifest, NOW).is_repeat
    expires = cluster.repository.files.current().role("app-shop").signed.expires
    assert expires == NOW + timedelta(days=90)


SPOILED: dict[str, tuple[Callable[[Path, Path], object], type[ClarionError]]] = {
    "one byte of the archive differs": (lambda package, _: flip(package, 40), BadContent),
    "the archive goes on after its end": (lambda package, _: package.open("ab").write(b"x"), BadContent),
    "the archive is cut short": (lambda package, _: os.truncate(package, 50), BadContent),
    "the archive is empty": (lambda package, _: os.truncate(package, 0), BadContent),
    "the archive is gone": (lambda package, _: package.unlink(), BadContent),
    "the manifest is gone": (lambda _, manifest: manifest.unlink(), BadManifest),
    "the manifest is a web page": (lambda _, manifest: manifest.write_text("<html>"), BadManifest),
    "the manifest speaks of another mode": (
        lambda _, manifest: relist(manifest, lambda listing: listing.replace(b'"mode":"0644"', b'"mode":"0755"')),
        BadContent,
    ),
    "the manifest has a space at its end": (
        lambda _, manifest: relist(manifest, lambda listing: listing + b" "),
        BadManifest,
    ),
    "the manifest speaks of another app": (
        lambda _, manifest: relist(manifest, lambda listing: listing.replace(b'"app":"shop"', b'"app":"blog"')),
        BadContent,
    ),
    "something follows the manifest's frame": (lambda _, manifest: manifest.open("ab").write(b" "), BadContent),
    "the manifest is larger than hosts accept": (
        lambda _, manifest: relist(manifest, lambda _: bytes(MAX_MANIFEST_BYTES + 1)),
        BadManifest,
    ),
}


def relist(manifest: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the listing in a manifest's file."""
    packed = manifest.read_bytes()
    listing = change(read_manifest(packed, reference_to(packed)).to_bytes())
    manifest.write_bytes(b"".join(compress([listing], len(listing))))


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(("spoil", "error"), SPOILED.values(), ids=SPOILED.keys())
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_not_a_whole_package_is_refused(
    cluster: Cluster, spoil: Callable[[Path, Path], object], error: type[ClarionError]
) -> None:
    """Nothing of the cluster changes, not even a key for the app is made."""
    built = cluster.build("1.0.0")
    before = files_of(cluster.home)
    spoil(built.package, built.manifest)
    with pytest.raises(error):
        publish(cluster.home, built.package, built.manifest)
    assert files_of(cluster.home) == before


def test_without_a_cluster_it_says_which_command_makes_one(cluster: Cluster, tmp_path: Path) -> None:
    """Publishing into a wrong folder makes nothing there."""
    built = cluster.build("1.0.0")
    with pytest.raises(NoCluster, match="clarion init"):
        publish(tmp_path / "elsewhere", built.package, built.manifest)
    assert not (tmp_path / "elsewhere").exists()


# --- keys


def test_with_root_and_targets_offline_a_known_app_is_published_and_a_new_one_is_not(cluster: Cluster) -> None:
    """Everyday work needs neither; admitting an app needs targets, and the error says so."""
    cluster.publish("1.0.0")
    for name in ("root", "targets"):
        cluster.repository.keys.file(name).rename(cluster.folder / name)
    assert cluster.publish("1.1.0").release.release == 2
    with pytest.raises(BadConfig, match="needs the targets key"):
        cluster.publish("1.0.0", app="blog")
    assert not cluster.repository.keys.has("app-blog")


@pytest.mark.parametrize("name", ["snapshot", "timestamp", "app-shop"])
def test_a_missing_key_is_told_and_nothing_is_published(cluster: Cluster, name: str) -> None:
    """Agents go on seeing the state before."""
    cluster.publish("1.0.0")
    timestamp = (cluster.home / "store/metadata/timestamp.json").read_bytes()
    cluster.repository.keys.file(name).unlink()
    with pytest.raises(BadConfig, match=f"{name}.key is not here"):
        cluster.publish("1.1.0")
    assert (cluster.home / "store/metadata/timestamp.json").read_bytes() == timestamp
    assert len(packages(cluster.home)) == 1


@pytest.mark.parametrize("name", ["snapshot", "timestamp", "app-shop"])
def test_a_wrong_key_signs_nothing(cluster: Cluster, name: str) -> None:
    """A key that agents do not know is noticed here, not on every host."""
    cluster.publish("1.0.0")
    cluster.repository.keys.file(name).unlink()
    cluster.repository.keys.make(name)
    timestamp = (cluster.home / "store/metadata/timestamp.json").read_bytes()
    with pytest.raises(BadConfig, match="did not sign"):
        cluster.publish("1.1.0")
    assert (cluster.home / "store/metadata/timestamp.json").read_bytes() == timestamp


# --- a store that somebody else writes to


def test_metadata_that_a_stranger_signed_is_not_blessed(cluster: Cluster, tmp_path: Path) -> None:
    """A stranger's whole chain in our place, every signature valid: our keys sign none of it."""
    cluster.publish("1.0.0")
    other = cluster_in(tmp_path / "other")
    other.publish("1.0.0", content=b"malware")
    shutil.rmtree(cluster.home / "store")
    shutil.copytree(other.home / "store", cluster.home / "store")
    with pytest.raises(BadConfig, match="did not sign"):
        cluster.publish("1.1.0")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "app-shop"])
def test_metadata_that_was_changed_is_found_out(cluster: Cluster, role: str) -> None:
    """Whatever is edited by hand, the next publish refuses to go on from it."""
    cluster.publish("1.0.0")
    files = cluster.repository.files
    version = None if role == "timestamp" else files.newest(role)
    path = files.path / (f"{role}.json" if version is None else f"{version}.{role}.json")
    metadata = Metadata.from_bytes(path.read_bytes())
    metadata.signed.expires += timedelta(days=365)
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(BadConfig, match="damaged"):
        cluster.publish("1.1.0")


class _Renamed:
    """Metadata whose one role is called after a path; whoever has the keys in a home can sign it."""

    def __init__(self, current: tuf_files.Current) -> None:
        self._current = current

    def roles(self) -> list[str]:
        return ["app-../../shop"]

    def role(self, _name: str) -> Metadata[Targets]:
        return self._current.role("app-shop")


def test_a_role_that_is_called_after_a_path_has_no_releases(cluster: Cluster) -> None:
    """A night makes files, as root, that are called after an app; its releases are those of that app, or none."""
    cluster.publish("1.0.0")
    renamed = cast("tuf_files.Current", _Renamed(cluster.repository.files.current()))
    with pytest.raises(BadEnvelope, match="speaks of shop"):
        tuf_repository.releases_in(renamed, "../../shop")


# --- time


def test_a_cluster_that_nobody_publishes_in_stays_alive_for_a_year(cluster: Cluster) -> None:
    """With `freshen` each hour, sampled daily here, nothing that has its key ever expires; hosts can follow."""
    cluster.publish("1.0.0")
    repository = cluster.repository
    for day in range(0, 400, 5):
        now = NOW + timedelta(days=day)
        assert repository.freshen(now).needs_key == {}
        current = repository.files.current()
        for role in ("root", "targets", "snapshot", "timestamp", "app-shop"):
            assert current.metadata(role).signed.expires > now + timedelta(hours=22)


def test_freshening_what_is_fresh_writes_nothing(cluster: Cluster) -> None:
    """The controller may ask as often as it likes."""
    before = files_of(cluster.home)
    assert cluster.repository.freshen(NOW + timedelta(minutes=30)).renewed == []
    assert files_of(cluster.home) == {**before, "store/metadata/.lock": b""}


def test_each_role_is_renewed_at_its_own_age(cluster: Cluster) -> None:
    """Timestamp hourly, snapshot daily, the rest after a third of their life."""
    built = cluster.build("1.0.0")
    publish(cluster.home, built.package, built.manifest, NOW)
    freshen = cluster.repository.freshen
    assert freshen(NOW + timedelta(hours=1, minutes=1)).renewed == ["timestamp"]
    assert set(freshen(NOW + timedelta(days=1, hours=1)).renewed) == {"snapshot", "timestamp"}
    assert set(freshen(NOW + timedelta(days=31)).renewed) == {"app-shop", "snapshot", "timestamp"}
    assert set(freshen(NOW + timedelta(days=150)).renewed) == {"root", "targets", "app-shop", "snapshot", "timestamp"}


def test_a_key_that_is_offline_or_broken_does_not_stop_the_others(cluster: Cluster) -> None:
    """What cannot be renewed is reported once its end is near; the timestamp is renewed all the while."""
    cluster.publish("1.0.0")
    keys = cluster.repository.keys
    keys.file("root").unlink()
    keys.file("targets").chmod(0o644)
    keys.file("app-shop").write_text("garbage")
    early = cluster.repository.freshen(NOW + timedelta(days=80))
    assert set(early.needs_key) == {"app-shop"}
    late = cluster.repository.freshen(NOW + timedelta(days=320))
    assert set(late.needs_key) == {"root", "targets", "app-shop"}
    assert set(late.renewed) == {"snapshot", "timestamp"}


def test_old_metadata_is_pruned(cluster: Cluster) -> None:
    """Years of snapshots do not pile up; roots all stay, because hosts walk through them."""
    for month in range(60):
        cluster.repository.freshen(NOW + timedelta(days=30 * month))
    names = [path.name for path in (cluster.home / "store/metadata").iterdir()]
    assert sum("snapshot" in name for name in names) == tuf_files.KEEP_VERSIONS
    roots = cluster.repository.files.newest("root")
    assert roots > tuf_files.KEEP_VERSIONS
    assert {f"{version}.root.json" for version in range(1, roots + 1)} <= set(names)


# --- crashes, crowds and full disks


def knows(cluster: Cluster, home: Path, version: str, tmp_path: Path) -> bool:
    """Return whether a new host and an old one would install that version from the store in `home`, bytes and all."""
    with serving(home / "store") as url:
        fetcher = Fetcher(url, HASTE)
        refresh(tmp_path, cluster.root, fetcher, Wanted("production", ["shop"]))
        try:
            release = PackageBook(tmp_path, cluster.root).find("shop", version)
        except UnknownPackage:
            return False
        got = tmp_path / version
        fetcher.fetch(release.path, got, [(0, release.length)], total=release.length)
        return hashlib.sha256(got.read_bytes()).hexdigest() == release.sha256


@pytest.mark.parametrize("is_first", [True, False], ids=["the first release of an app", "a later release"])
@pytest.mark.once
@pytest.mark.timeout(300)
def test_a_crash_at_any_write_leaves_a_store_that_hosts_accept(
    cluster: Cluster, tmp_path: Path, *, is_first: bool
) -> None:
    """Killed before each change to the disk: the old state or the new one, never an error, and a retry finishes."""
    if not is_first:
        cluster.publish("1.0.0")
    built = cluster.build("1.1.0", content=b"new")
    out = tmp_path / "out-of-crashes"
    out.mkdir()
    arguments = [cluster.home, built.package, built.manifest, out]
    run = [sys.executable, publish_crashes.__file__, *map(str, arguments)]
    points = int(subprocess.run(run, check=True, capture_output=True, text=True, timeout=200).stdout)
    assert points > 15
    states = []
    for point in range(points):
        home, trust = out / str(point), tmp_path / "trust" / str(point)
        states.append(knows(cluster, home, "1.1.0", trust))
        if not is_first:
            assert knows(cluster, home, "1.0.0", trust)
        release = publish(home, built.package, built.manifest).release
        assert release.release == (1 if is_first else 2)
        assert knows(cluster, home, "1.1.0", trust)
    assert states == sorted(states)
    assert not states[0]


def test_publishers_at_once_take_turns(cluster: Cluster) -> None:
    """Eight at a time: every version is there once, with a number of its own."""
    built = []
    for number in range(8):
        made = cluster.build(f"1.0.{number}", content=b"%d" % number)
        built.append(made)
    threads = [threading.Thread(target=publish, args=(cluster.home, each.package, each.manifest)) for each in built]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    releases = packages(cluster.home)
    assert sorted(each.release for each in releases) == list(range(1, 9))
    assert {each.version for each in releases} == {f"1.0.{number}" for number in range(8)}


def test_a_publisher_that_never_ends_is_not_waited_for_for_ever(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is told, in time."""
    monkeypatch.setattr(tuf_files, "LOCK_WAIT_S", 0.2)
    with cluster.repository.files.locked(), pytest.raises(Blocked, match="under way"):
        cluster.publish("1.0.0")


def test_metadata_is_renewed_while_a_package_is_uploaded(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload of minutes lets no timestamp expire; a second publisher waits for the first."""
    monkeypatch.setattr(tuf_repository, "PUBLISH_WAIT_S", 0.2)
    with cluster.repository.publishing():
        assert "timestamp" in cluster.repository.freshen(NOW + timedelta(hours=2)).renewed
        with pytest.raises(Blocked, match="under way"):
            cluster.publish("1.0.0")
    assert cluster.publish("1.0.0").release.release == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file system of its own")
def test_a_full_disk_is_told_and_nothing_is_published(cluster: Cluster, tmp_path: Path) -> None:
    """The package does not fit: NoSpace, no half file is left, and the cluster goes on."""
    cluster.publish("1.0.0")
    built = cluster.build("1.1.0", content=os.urandom(3_000_000))
    store, small = cluster.home / "store", tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True, timeout=10)
    try:
        shutil.copytree(store, small, dirs_exist_ok=True)
        store.rename(tmp_path / "old-store")
        store.symlink_to(small)
        before = files_of(small)
        with pytest.raises(NoSpace, match="no space left"):
            publish(cluster.home, built.package, built.manifest)
        after = files_of(small)
        assert {name for name in after if name not in before} == {"packages/shop/shop-1.1.0.manifest.json.zst"}
        assert [each.version for each in packages(cluster.home)] == ["1.0.0"]
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_store_to_its_owner(cluster: Cluster) -> None:
    """`sudo clarion publish` must not lock the controller's user out."""
    for path in (cluster.home, *cluster.home.rglob("*")):
        os.chown(path, 12345, 54321)
    cluster.publish("1.0.0")
    strange = [path for path in cluster.home.rglob("*") if path.stat().st_uid != 12345 and path.name != ".lock"]
    assert strange == []


def test_a_store_that_cannot_be_written_is_told(cluster: Cluster) -> None:
    """A file where a folder should be: one error that names it."""
    shutil.rmtree(cluster.repository.packages)
    cluster.repository.packages.write_text("")
    with pytest.raises(HostError):
        cluster.publish("1.0.0")
    assert isinstance(cluster.repository, TufRepository)
