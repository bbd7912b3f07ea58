"""What a relay is for: each megabyte crosses the line once, and packages flow while the controller is away."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.relay.nginx import NGINX, Relay
from tests.stores import Cluster, cluster_in, honest, puppet, serving

from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.patience import Patience
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.packages import PackageBook
from clarion_controller.package_store.app import PackageStore
from clarion_protocol.errors import StoreUnavailable
from clarion_protocol.published import Release

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: 'make lab-deps', or apt-get install nginx"),
]

SLICE = 2**20
AGENTS = 200
CALM = Patience(connect=5, silence=10, window=30, deadline=50, pause=0.05, longest_pause=0.2)
HASTY = Patience(connect=1, silence=2, deadline=5, attempts=2, pause=0.01, longest_pause=0.02)


class Counted:
    """A real store that counts what it is asked for: (path, range)."""

    def __init__(self, store: Path) -> None:
        self._app = PackageStore(store)
        self.asked: Counter[tuple[str, str]] = Counter()
        self.headers: set[bytes] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Count, then answer."""
        headers = dict(scope["headers"])
        self.headers |= set(headers)
        self.asked[scope["path"], headers.get(b"range", b"").decode()] += 1
        await self._app(scope, receive, send)

    def slices(self) -> Counter[tuple[str, str]]:
        """Return what was asked for of packages."""
        return Counter({asked: times for asked, times in self.asked.items() if asked[0].startswith("/packages/shop")})


class Site:
    """A cluster with one package of some megabytes, its store, and a relay before it."""

    def __init__(self, folder: Path) -> None:
        self.cluster: Cluster = cluster_in(folder)
        self.content = random.Random(11).randbytes(5_000_000)
        self.release: Release = self.cluster.publish("1.0.0", content=self.content).release
        self.package = (self.cluster.repository.packages / self.release.path).read_bytes()
        self.counted = Counted(self.cluster.home / "store")
        self.origin = ExitStack()
        self.relay = Relay(
            folder / "relay", self.origin.enter_context(serving(self.cluster.home / "store", self.counted))
        )

    def spans(self, seed: int, count: int = 12) -> list[tuple[int, int]]:
        """Return spans that cover the package, cut in other places for each seed."""
        cuts = sorted({0, *random.Random(seed).sample(range(1, self.release.length), count), self.release.length})
        return [(first, after - first) for first, after in itertools.pairwise(cuts)]

    def refresh(self, trust: Path) -> PackageBook:
        """Bring metadata up to date through the relay, as an agent does, and return what is published."""
        trust.mkdir(exist_ok=True)
        refresh(trust, self.cluster.root, Fetcher(self.relay.url, HASTY), Wanted("production", ["shop"]))
        return PackageBook(trust, self.cluster.root)

    def fetch(self, into: Path, seed: int = 0, patience: Patience = CALM) -> bytes:
        """Fetch the whole package through the relay, as an agent does."""
        fetcher = Fetcher(self.relay.url, patience)
        fetcher.fetch(self.release.path, into, self.spans(seed), total=self.release.length)
        return into.read_bytes()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run all of it."""
    site = Site(tmp_path)
    with site.origin:
        try:
            site.relay.start()
            yield site
        finally:
            site.relay.end()


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request exactly as written; return the response and its body."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=15)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_two_hundred_agents_cost_the_origin_one_request_a_slice(site: Site, tmp_path: Path) -> None:
    """Each with ranges of its own, all at once, on an empty cache; every byte is right."""
    start = threading.Barrier(AGENTS, timeout=30)

    def agent(number: int) -> bool:
        start.wait()
        into = tmp_path / f"got-{number}"
        is_right = site.fetch(into, seed=number) == site.package
        into.unlink()
        return is_right

    with ThreadPoolExecutor(AGENTS) as pool:
        assert list(pool.map(agent, range(AGENTS))) == [True] * AGENTS
    asked = site.counted.slices()
    assert len(asked) == -(-site.release.length // SLICE)
    assert set(asked.values()) == {1}
    assert site.relay.complaints() == ""


def test_packages_flow_while_the_controller_is_away(site: Site, tmp_path: Path) -> None:
    """What is in the cache is as good as ever; metadata is not made up, so nothing new is believed."""
    assert site.fetch(tmp_path / "warm") == site.package
    site.refresh(tmp_path / "trust")
    site.origin.close()
    assert site.fetch(tmp_path / "got", seed=1) == site.package
    with pytest.raises(StoreUnavailable):
        site.refresh(tmp_path / "trust")


def test_what_is_published_is_seen_at_once(site: Site, tmp_path: Path) -> None:
    """The timestamp is never kept, and a name that was missing is not remembered as missing."""
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        path = f"/packages/shop/shop-{version}.tar.zst"
        assert ask(site.relay.url, path)[0].status == 404
        site.cluster.publish(version, content=version.encode())
        assert site.refresh(tmp_path / "trust").find("shop", version).version == version
        assert ask(site.relay.url, path)[0].status == 200


def test_a_fleet_that_refreshes_asks_for_each_version_once(site: Site, tmp_path: Path) -> None:
    """Only for the timestamp, and for a root that is not there yet, is the controller asked by everybody."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: site.refresh(tmp_path / f"trust-{number}"), range(20)))
    asked = {path: times for (path, _), times in site.counted.asked.items() if path.startswith("/metadata/")}
    assert asked.pop("/metadata/timestamp.json") == 20
    assert asked.pop("/metadata/2.root.json") == 20
    assert len(asked) == 3
    assert set(asked.values()) == {1}


def test_a_relay_that_is_killed_in_the_middle_costs_only_time(site: Site, tmp_path: Path) -> None:
    """The agent goes on from the byte it had reached, and what was kept is still good."""
    into = tmp_path / "got"
    fetched: list[bytes] = []
    thread = threading.Thread(target=lambda: fetched.append(site.fetch(into, patience=CALM)))
    spans = site.spans(0, count=3000)
    site.spans = lambda seed, count=0: spans  # type: ignore[method-assign]
    thread.start()
    until = time.monotonic() + 20
    while not into.exists() or into.stat().st_size < SLICE:
        assert time.monotonic() < until
        time.sleep(0.005)
    site.relay.end(signal.SIGKILL)
    assert thread.is_alive()
    site.relay.start()
    thread.join(40)
    assert fetched == [site.package]


def test_a_slice_that_breaks_off_is_not_kept(site: Site, tmp_path: Path) -> None:
    """The line to the controller breaks in the middle of the first slice; its half is served to nobody else."""
    site.relay.end()
    content = site.package[:SLICE]
    with puppet(honest(content, cut=SLICE // 3), honest(content)) as origin:
        site.relay.origin = origin.url
        site.relay.start()
        for name in ("first", "second"):
            fetcher = Fetcher(site.relay.url, CALM)
            fetcher.fetch(site.release.path, tmp_path / name, [(0, SLICE)], total=SLICE)
            assert (tmp_path / name).read_bytes() == content
        assert len(origin.requests) == 2


def test_a_restored_controller_does_not_split_the_cache(site: Site, tmp_path: Path) -> None:
    """The same bytes with another ETag still make one range with slices that were kept before."""
    once = Fetcher(site.relay.url, Patience(attempts=1))
    once.fetch(site.release.path, tmp_path / "x", [(0, 100)], total=site.release.length)
    os.utime(site.cluster.repository.packages / site.release.path, (1, 1))
    got = tmp_path / "got"
    once.fetch(site.release.path, got, [(0, 3 * SLICE)], total=site.release.length)
    assert got.read_bytes() == site.package[: 3 * SLICE]


def test_nothing_that_a_client_says_goes_on(site: Site) -> None:
    """No header of one server can change what is kept for the others; a query changes nothing either."""
    path = f"/packages/{site.release.path}"
    said = {"x-evil": "1", "if-none-match": '"x"', "accept-encoding": "gzip", "cookie": "1"}
    _, whole = ask(site.relay.url, path, **said)
    assert whole == site.package
    for spelling in (f"{path}?again", path.replace("shop-1", "shop%2D1"), path.replace("/shop-", "/../shop/shop-")):
        assert ask(site.relay.url, spelling)[1] == site.package
    assert site.counted.headers <= {b"host", b"range", b"accept-encoding", b"connection"}
    assert set(site.counted.slices().values()) == {1}


def test_nothing_can_be_changed(site: Site) -> None:
    """The controller does not even hear of it."""
    paths = [f"/packages/{site.release.path}", "/metadata/timestamp.json", "/metadata/1.snapshot.json"]
    for method, path in itertools.product(["POST", "PUT", "DELETE", "PATCH", "PURGE"], paths):
        assert ask(site.relay.url, path, method)[0].status in (403, 405)
    assert not site.counted.asked


def test_there_is_nothing_else(site: Site) -> None:
    """Not even a question to the controller, and no word about which nginx this is."""
    for path in ("/", "/keys/root.key", "/metadata/", "/metadata/root.json", "/nginx_status", "/packages"):
        response, body = ask(site.relay.url, path)
        assert response.status in (301, 404)
        assert "nginx/" not in f"{response.headers} {body!r}"
    assert not site.counted.asked


def test_head_tells_how_long_a_package_is(site: Site) -> None:
    """As the controller does."""
    response, body = ask(site.relay.url, f"/packages/{site.release.path}", "HEAD")
    assert (response.status, body, response.headers["content-length"]) == (200, b"", str(site.release.length))
