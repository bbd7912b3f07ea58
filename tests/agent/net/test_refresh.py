"""Refreshing package metadata from a real store, and from one that shows the past, a mixture or another's."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.stores import HASTE, Cluster, cluster_in, http, puppet, serving
from tuf.api.metadata import Metadata, TargetFile

from clarion_agent import durable
from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.packages import PackageBook
from clarion_agent.tuf_chain import Bundle
from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_protocol.errors import (
    ClarionError,
    NetworkError,
    NotAuthorised,
    OutOfTime,
    StoreMisbehaved,
    StoreUnavailable,
    TrustStateLost,
    UnknownPackage,
)

WANTED = Wanted("production", ["shop", "blog", "never-published"])
NOW = datetime.now(timezone.utc).replace(microsecond=0)


@dataclass
class World:
    """A cluster, a served folder that can be made to show anything, and a host."""

    cluster: Cluster
    url: str
    shown: Path
    trust: Path

    def show(self, store: Path) -> None:
        """Let the served store be a copy of this one."""
        shutil.rmtree(self.shown, ignore_errors=True)
        shutil.copytree(store, self.shown)

    def keep(self, name: str) -> Path:
        """Return a copy of the cluster's store as it is now."""
        return Path(shutil.copytree(self.cluster.home / "store", self.cluster.folder / name))

    def refresh(self) -> None:
        """Refresh the host from whatever is shown."""
        refresh(self.trust, self.cluster.root, Fetcher(self.url, HASTE), WANTED)

    @property
    def book(self) -> PackageBook:
        """What the host's core believes."""
        return PackageBook(self.trust, self.cluster.root)

    def knows(self, version: str, app: str = "shop") -> bool:
        """Return whether the host would install that."""
        try:
            return bool(self.book.find(app, version).release)
        except UnknownPackage:
            return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Make a host that has refreshed once, at shop 1.1.0; `then` is the store before that, `now` the present."""
    cluster = cluster_in(tmp_path, "production", "test")
    world = World(cluster, "", tmp_path / "shown", tmp_path / "trust")
    cluster.publish("1.0.0")
    world.keep("then")
    cluster.publish("1.1.0")
    world.show(world.keep("now"))
    with serving(world.shown) as world.url:
        world.refresh()
        yield world


def test_a_host_learns_what_it_needs_to_verify_offline(world: World) -> None:
    """After a refresh the book answers without any network: releases, and who may deploy."""
    release = world.book.find("shop", "1.1.0")
    assert (release.release, release.path) == (2, "shop/shop-1.1.0.tar.zst")
    assert world.book.policy("production").environment == "production"
    assert not world.knows("1.0.0", "never-published")


def test_what_is_published_later_arrives_with_the_next_refresh(world: World) -> None:
    """New versions, and apps that did not exist before."""
    world.cluster.publish("1.2.0")
    world.cluster.publish("0.1.0", app="blog")
    world.show(world.cluster.home / "store")
    world.refresh()
    assert world.knows("1.2.0")
    assert world.knows("0.1.0", "blog")


def test_a_refresh_without_news_writes_nothing(world: World) -> None:
    """Hosts poll for ever; their disks need not know."""
    before = (world.trust / "bundle.json").stat()
    world.refresh()
    assert (world.trust / "bundle.json").stat() == before


def test_renewed_signatures_arrive(world: World) -> None:
    """The hourly timestamp is news."""
    world.cluster.repository.freshen(NOW + timedelta(hours=2))
    world.show(world.cluster.home / "store")
    world.refresh()
    world.cluster.repository.freshen(NOW + timedelta(days=2))
    world.show(world.cluster.home / "store")
    world.refresh()
    late = (NOW + timedelta(days=2, hours=20)).timestamp()
    assert PackageBook(world.trust, world.cluster.root, lambda: late).find("shop", "1.1.0")


def test_a_new_root_is_followed_from_the_first(world: World) -> None:
    """A host that pinned root 1 walks to root 3, each signed by the one before."""
    for year in (1, 2):
        world.cluster.repository.freshen(NOW + timedelta(days=300 * year))
    assert world.cluster.repository.files.newest("root") == 3
    world.show(world.cluster.home / "store")
    world.refresh()
    assert world.knows("1.1.0")
    assert len(bundle_of(world).roots) == 2


def bundle_of(world: World) -> Bundle:
    """Return the host's bundle."""
    bundle = world.book._file.read(world.cluster.root)
    assert bundle is not None
    return bundle


# --- a store that shows the past, a mixture, or something else


def put(world: World, source: str, name: str, target: str) -> None:
    """Show the file `name` of another copy under the name `target`."""
    shutil.copy(world.cluster.folder / source / "metadata" / name, world.shown / "metadata" / target)


def everything_old(world: World) -> None:
    """Show the whole store as it was."""
    world.show(world.cluster.folder / "then")


def old_timestamp(world: World) -> None:
    """Show the old timestamp among new files."""
    put(world, "then", "timestamp.json", "timestamp.json")


def publish_next(world: World) -> None:
    """Publish 1.2.0 and show it."""
    world.cluster.publish("1.2.0")
    world.show(world.cluster.home / "store")


def newest(world: World, role: str) -> str:
    """Return the name of the newest file of a role."""
    return f"{TufRepository(world.shown, world.cluster.repository.keys).files.newest(role)}.{role}.json"


def old_under_new_name(role: str) -> Callable[[World], None]:
    """Return an attack that shows an old version of a role as the newest one."""

    def attack(world: World) -> None:
        old = TufRepository(world.cluster.folder / "now", world.cluster.repository.keys).files.newest(role)
        publish_next(world)
        if role == "targets":
            world.cluster.publish("1.0.0", app="blog")
            world.show(world.cluster.home / "store")
        put(world, "now", f"{old}.{role}.json", newest(world, role))

    return attack


def damaged(name: str) -> Callable[[World], None]:
    """Return an attack that changes one byte of the newest metadata of a role."""

    def attack(world: World) -> None:
        publish_next(world)
        path = world.shown / "metadata" / (name if name == "timestamp.json" else newest(world, name))
        raw = bytearray(path.read_bytes())
        raw[raw.rindex(b'"version":') + 10] ^= 1
        path.write_bytes(bytes(raw))

    return attack


def missing(role: str) -> Callable[[World], None]:
    """Return an attack that withholds the newest metadata of a role."""

    def attack(world: World) -> None:
        publish_next(world)
        (world.shown / "metadata" / newest(world, role)).unlink()

    return attack


def another_cluster(world: World) -> None:
    """Show the store of another cluster, which is perfectly signed, by others."""
    other = cluster_in(world.cluster.folder / "other", "production")
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        other.publish(version)
    world.show(other.home / "store")


def web_page(world: World) -> None:
    """Show a web page instead of the timestamp."""
    (world.shown / "metadata/timestamp.json").write_text("<html>Sign in</html>")


def too_long(world: World) -> None:
    """Show a timestamp of a megabyte."""
    raw = (world.shown / "metadata/timestamp.json").read_bytes()
    (world.shown / "metadata/timestamp.json").write_bytes(raw + b" " * 2**20)


def truncated(world: World) -> None:
    """Show half a timestamp."""
    raw = (world.shown / "metadata/timestamp.json").read_bytes()
    (world.shown / "metadata/timestamp.json").write_bytes(raw[: len(raw) // 2])


PAST = {
    "everything as it was before": everything_old,
    "the old timestamp among new files": old_timestamp,
    "an old snapshot as the new one": old_under_new_name("snapshot"),
    "old targets as the new ones": old_under_new_name("targets"),
    "an old app role as the new one": old_under_new_name("app-shop"),
}
OTHERS = {
    "a changed byte in the timestamp": damaged("timestamp.json"),
    "a changed byte in the snapshot": damaged("snapshot"),
    "a changed byte in the app's role": damaged("app-shop"),
    "a snapshot that is withheld": missing("snapshot"),
    "an app role that is withheld": missing("app-shop"),
    "another cluster's store": another_cluster,
    "a web page": web_page,
    "too much": too_long,
    "too little": truncated,
}

FORGETTING = {
    "with its cache": lambda _: None,
    "without its cache": lambda world: shutil.rmtree(world.trust / "tuf"),
    "with a truncated cache": lambda world: [
        path.write_bytes(path.read_bytes()[:100]) for path in (world.trust / "tuf").glob("*.json")
    ],
    "with the cache of another time": lambda world: [
        shutil.copy(path, world.trust / "tuf" / path.name.split(".", 1)[1])
        for path in (world.cluster.folder / "then/metadata").glob("1.[ts]*.json")
    ],
}


@pytest.mark.parametrize("forget", FORGETTING.values(), ids=FORGETTING.keys())
@pytest.mark.parametrize("attack", PAST.values(), ids=PAST.keys())
def test_the_past_is_not_believed(
    world: World, attack: Callable[[World], None], forget: Callable[[World], object]
) -> None:
    """Whether the cache remembers or not, no role goes back."""
    attack(world)
    forget(world)
    assert_refused(world)


@pytest.mark.parametrize("attack", OTHERS.values(), ids=OTHERS.keys())
def test_a_broken_or_hostile_store_is_not_believed(world: World, attack: Callable[[World], None]) -> None:
    """Whatever is shown that was not signed so is one error."""
    attack(world)
    assert_refused(world)


def assert_refused(world: World) -> None:
    """Check that refreshing fails, that the host still believes what it believed, and that it recovers."""
    before = (world.trust / "bundle.json").read_bytes()
    with pytest.raises(StoreMisbehaved):
        world.refresh()
    assert (world.trust / "bundle.json").read_bytes() == before
    assert world.knows("1.1.0")
    world.cluster.publish("1.9.0")
    world.show(world.cluster.home / "store")
    world.refresh()
    assert world.knows("1.9.0")


def test_a_frozen_store_is_noticed_when_its_timestamp_expires(world: World, tmp_path: Path) -> None:
    """Old but genuine metadata is refused once it is older than a day."""
    frozen = cluster_in(tmp_path / "frozen")
    with frozen.repository.change(NOW - timedelta(days=2)) as change:
        change.edit("timestamp")
    with serving(frozen.home / "store") as url, pytest.raises(OutOfTime, match="expired"):
        refresh(tmp_path / "fresh", frozen.root, Fetcher(url, HASTE), WANTED)


def test_one_apps_key_signs_nothing_of_another(world: World) -> None:
    """A target of blog in shop's role is as if it were not there."""
    world.cluster.publish("1.0.0", app="blog")
    with world.cluster.repository.change(NOW) as change:
        role = change.edit("app-shop")
        genuine = role.targets["shop/shop-1.1.0.tar.zst"]
        role.targets["blog/blog-6.6.6.tar.zst"] = TargetFile(
            genuine.length, genuine.hashes, "blog/blog-6.6.6.tar.zst", genuine.unrecognized_fields
        )
        role.targets["shop/shop-6.6.6.tar.zst"] = TargetFile(
            genuine.length, genuine.hashes, "shop/shop-6.6.6.tar.zst", genuine.unrecognized_fields
        )
    world.show(world.cluster.home / "store")
    world.refresh()
    assert not world.knows("6.6.6", "blog")
    with pytest.raises(StoreMisbehaved, match=r"speaks of shop 1\.1\.0"):
        world.book.find("shop", "6.6.6")


def test_a_policy_that_is_not_the_signed_one_is_not_believed(world: World, tmp_path: Path) -> None:
    """A store cannot add a deployer."""
    for path in (world.shown / "packages/policy").glob("*.production.json"):
        path.write_bytes(path.read_bytes().replace(b'"epoch":1', b'"epoch":2'))
    with pytest.raises(StoreMisbehaved, match="policy"):
        refresh(tmp_path / "fresh", world.cluster.root, Fetcher(world.url, HASTE), WANTED)
    assert not (tmp_path / "fresh/bundle.json").exists()


def test_an_environment_without_a_policy_is_nobodys(world: World, tmp_path: Path) -> None:
    """The message says what is missing."""
    with pytest.raises(NotAuthorised, match="no policy"):
        refresh(tmp_path / "fresh", world.cluster.root, Fetcher(world.url, HASTE), Wanted("staging", []))


def test_an_app_that_has_expired_does_not_hinder_another(tmp_path: Path) -> None:
    """The old app cannot be installed, and its message names the command; the other can."""
    cluster = cluster_in(tmp_path)
    cluster.publish("1.0.0")
    cluster.publish("1.0.0", app="blog")
    with cluster.repository.change(NOW - timedelta(days=91)) as change:
        change.edit("app-blog")
    cluster.repository.keys.file("app-blog").rename(tmp_path / "away.key")
    renewed = cluster.repository.freshen(NOW)
    assert list(renewed.needs_key) == ["app-blog"]
    world = World(cluster, "", tmp_path / "shown", tmp_path / "trust")
    with serving(cluster.home / "store") as world.url:
        world.refresh()
    assert world.knows("1.0.0")
    with pytest.raises(OutOfTime, match="app-blog") as caught:
        world.book.find("blog", "1.0.0")
    assert "clarion publish" in str(caught.value.hint)


def test_a_store_that_is_away_leaves_the_host_with_what_it_knows(world: World) -> None:
    """Refreshing fails, the book still answers."""
    with pytest.raises(StoreUnavailable):
        refresh(world.trust, world.cluster.root, Fetcher("http://127.0.0.1:1", HASTE), WANTED)
    assert world.knows("1.1.0")


@pytest.mark.parametrize("status", ["500 Oops", "302 Found", "204 No Content"])
def test_odd_answers_for_metadata_are_the_networks_fault(world: World, status: str) -> None:
    """python-tuf's own exceptions never reach the caller."""
    with puppet(http(status)) as server, pytest.raises(NetworkError):
        refresh(world.trust, world.cluster.root, Fetcher(server.url, HASTE), WANTED)


def test_another_root_begins_another_life(world: World, tmp_path: Path) -> None:
    """A host that joined another cluster is not held to what it saw in the first."""
    other = cluster_in(tmp_path / "other")
    other.publish("0.0.1")
    with serving(other.home / "store") as url:
        refresh(world.trust, other.root, Fetcher(url, HASTE), WANTED)
    assert PackageBook(world.trust, other.root).find("shop", "0.0.1").release == 1
    with pytest.raises(StoreUnavailable):
        world.book.find("shop", "1.1.0")


@pytest.mark.parametrize("size", [0, 1, 100, 2000])
def test_a_damaged_bundle_stops_changes_instead_of_forgetting(world: World, size: int) -> None:
    """Truncated state is told, not replaced by whatever the store shows."""
    path = world.trust / "bundle.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TrustStateLost):
        world.refresh()
    with pytest.raises(TrustStateLost):
        world.book.find("shop", "1.1.0")


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_refresh_that_is_killed_anywhere_leaves_old_or_new(world: World) -> None:
    """At no durable operation is there half a bundle, and the next refresh finishes."""
    publish_next(world)
    for point in range(100):
        left = [point]

        def kill(operation: str, path: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed(operation, path)

        durable.watchers.append(kill)
        try:
            world.refresh()
        except Killed:
            assert world.knows("1.1.0")
        else:
            break
        finally:
            durable.watchers.remove(kill)
    assert point > 2
    assert world.knows("1.2.0")


def test_two_refreshes_at_once_do_not_disturb_each_other(world: World) -> None:
    """One waits for the other, and both end well."""
    publish_next(world)
    failures: list[ClarionError] = []

    def run() -> None:
        try:
            world.refresh()
        except ClarionError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert world.knows("1.2.0")


def test_new_keys_begin_counting_anew(world: World) -> None:
    """A stolen timestamp key signed version two billion; a root with another key lets the fleet go on."""
    repository = world.cluster.repository
    with repository.change(NOW) as change:
        change.edit("timestamp").version = 2_000_000_000
    world.show(world.cluster.home / "store")
    world.refresh()
    keys = repository.keys
    keys.file("timestamp").rename(keys.file("stolen"))
    keys.make("timestamp")
    with repository.files.locked():
        root = repository.files.current().root
        root.signed.revoke_key(root.signed.roles["timestamp"].keyids[0], "timestamp")
        root.signed.add_key(keys.tuf_signer("timestamp").public_key, "timestamp")
        root.signed.version = 2
        root.sign(keys.tuf_signer("root"))
        repository.files.write("root", root)
        timestamp = Metadata.from_bytes(repository.files.read("timestamp"))
        timestamp.signed.version = 7
        timestamp.sign(keys.tuf_signer("timestamp"))
        repository.files.write("timestamp", timestamp)
    world.cluster.publish("1.2.0")
    world.show(world.cluster.home / "store")
    world.refresh()
    assert world.knows("1.2.0")
