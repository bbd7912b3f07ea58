"""A package's whole way through a cloud: published into it, handed out by signed addresses or by the controller."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.clouds.stores.places import Place
from tests.controller.live import new_cluster
from tests.controller.test_serve import serving as running_controller
from tests.controller.test_serve import wait_until_ready
from tests.stores import Cluster, cluster_in, serving

from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.patience import Patience
from clarion_agent.net.place import Span
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.net.store_http import StoreHttp
from clarion_agent.origin import origin_of
from clarion_agent.packages import PackageBook
from clarion_controller.fleet_toml.fleet import FILE_NAME, load_fleet
from clarion_controller.package_store.app import PackageStore
from clarion_controller.package_store.bucket import Bucket, BucketInForce
from clarion_controller.publish import publish
from clarion_controller.stores.choose import store_of
from clarion_protocol.errors import AlreadyPublished
from clarion_protocol.published import Release

pytestmark = pytest.mark.timeout(120, func_only=True)

CALM = Patience(attempts=3, pause=0.05)
BIG = random.Random(4).randbytes(700_000)


def cluster_with(place: Place, folder: Path, deliver: str = "redirect") -> Cluster:
    """Make a cluster whose packages lie in that place."""
    cluster = cluster_in(folder)
    config = cluster.home / FILE_NAME
    config.write_text(f'{config.read_text()}\n[store]\ndeliver = "{deliver}"\n{bucket_table(place)}\n')
    return cluster


def bucket_table(place: Place) -> str:
    """Return the table that names the place's bucket, as it is typed."""
    table = place.table()
    name, found = next((name, getattr(table, name)) for name in ("s3", "gcs", "azure") if getattr(table, name))
    said = [f'{key} = "{value}"' for key, value in msgspec.structs.asdict(found).items()]
    return "\n".join([f"[store.{name}]", *said])


@contextmanager
def served(cluster: Cluster, bucket: Bucket | None = None) -> Iterator[str]:
    """Serve what the controller of that cluster serves."""
    store = cluster.home / "store"
    in_force = BucketInForce(lambda: load_fleet(cluster.home / FILE_NAME).store, cluster.home)
    with serving(store, PackageStore(store, (lambda: bucket) if bucket else in_force)) as url:
        yield url


def origin_of_place(place: Place) -> str:
    """Return the origin to which the place's addresses lead."""
    table = place.table()
    found = next(each for each in (table.s3, table.gcs, table.azure) if each)
    return origin_of(found.endpoint)


def install(cluster: Cluster, url: str, origin: str, folder: Path) -> Release:
    """Fetch metadata, manifest and package, as a host does, and check them against what was signed."""
    fetcher = Fetcher(url, CALM, [origin])
    refresh(folder, cluster.root, fetcher, Wanted("production", ["shop"]))
    release = PackageBook(folder, cluster.root).find("shop", "1.0.0+build.7")
    spans = [(offset, 50_000) for offset in range(0, release.length - 50_000, 50_000)]
    spans.append((spans[-1][0] + 50_000, release.length - spans[-1][0] - 50_000))
    fetcher.fetch(
        release.manifest_path, folder / "manifest", [(0, release.manifest_length)], total=release.manifest_length
    )
    fetcher.fetch(release.path, folder / "package", spans, total=release.length)
    assert hashlib.sha256((folder / "manifest").read_bytes()).hexdigest() == release.manifest_sha256
    assert hashlib.sha256((folder / "package").read_bytes()).hexdigest() == release.sha256
    return release


@pytest.mark.parametrize("deliver", ["redirect", "proxy"])
def test_a_package_goes_into_a_cloud_and_comes_out_on_a_host(cloud: Place, tmp_path: Path, deliver: str) -> None:
    """Nothing of it lies on the controller; policies and metadata do."""
    cluster = cluster_with(cloud, tmp_path, deliver=deliver)
    cluster.publish("1.0.0+build.7", content=BIG)
    assert not list((cluster.home / "store/packages").glob("shop/*"))
    with served(cluster) as url:
        install(cluster, url, origin_of_place(cloud), tmp_path / "trust")


def test_publishing_again_repairs_what_is_missing_or_damaged(cloud: Place, tmp_path: Path) -> None:
    """And what a publish that crashed left under the same name is replaced, because nothing signed speaks of it."""
    cluster = cluster_with(cloud, tmp_path, deliver="proxy")
    store = store_of(load_fleet(cluster.home / FILE_NAME).store, cluster.home)
    built = cluster.build("1.0.0+build.7", content=BIG)
    left = tmp_path / "left"
    left.write_bytes(b"of other bytes")
    release = "shop/shop-1.0.0+build.7"
    for key in (f"{release}.tar.zst", f"{release}.manifest.json.zst"):
        store.put_if_absent(key, left, hashlib.sha256(left.read_bytes()).hexdigest())
    assert not publish(cluster.home, built.package, built.manifest).is_repeat
    with served(cluster) as url:
        install(cluster, url, "http://x", tmp_path / "first")
    store.delete(f"{release}.tar.zst")
    assert publish(cluster.home, built.package, built.manifest).is_repeat
    with served(cluster) as url:
        install(cluster, url, "http://x", tmp_path / "second")
    with pytest.raises(AlreadyPublished):
        cluster.publish("1.0.0+build.7", content=b"others")


def test_an_address_that_expires_on_the_way_is_renewed(cloud: Place, tmp_path: Path) -> None:
    """The cloud itself says that it has expired, in its own words."""
    if not cloud.keeps_addresses:
        pytest.skip("this double lets everybody in for ever")
    cluster = cluster_with(cloud, tmp_path)
    release = cluster.publish("1.0.0", content=BIG).release
    brief, path = Bucket(cloud.open(), 2.0, {release.path}), f"/packages/{release.path}"
    with served(cluster, brief) as url, StoreHttp(url, CALM, [origin_of_place(cloud)]).file(path) as file:
        first = b"".join(file.span(Span(0, 1000, release.length)))
        time.sleep(3.5)
        rest = b"".join(file.span(Span(1000, release.length - 1000, release.length)))
    assert hashlib.sha256(first + rest).hexdigest() == release.sha256


def test_a_controller_that_runs_takes_the_bucket_that_is_added(s3_place: Place, tmp_path: Path) -> None:
    """`clarion serve` itself, without a restart; what was published before is still served."""
    cluster = new_cluster(tmp_path)
    home = cluster.home
    port = load_fleet(home / FILE_NAME).controller.package_port
    with running_controller(home) as process:
        wait_until_ready(process, home)
        url = f"http://127.0.0.1:{port}"
        cluster.publish("0.9.0")
        config = home / FILE_NAME
        config.write_text(f"{config.read_text()}\n{bucket_table(s3_place)}\n")
        cluster.publish("1.0.0+build.7", content=BIG)
        assert not list((home / "store/packages/shop").glob("shop-1*"))
        install(cluster, url, origin_of_place(s3_place), tmp_path / "trust")
        earlier = PackageBook(tmp_path / "trust", cluster.root).find("shop", "0.9.0")
        Fetcher(url, CALM).fetch(earlier.path, tmp_path / "earlier", [(0, 10)], total=earlier.length)
