"""Packages out of a bucket: hosts are sent there with one signed address for all, or the bytes pass through."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs
from tests.controller.package_store.test_app import PACKAGE, Reader, ask
from tests.stores import HASTE, serving

from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.patience import Patience
from clarion_controller.fleet_toml import fleet
from clarion_controller.package_store import once
from clarion_controller.package_store.app import PackageStore
from clarion_controller.package_store.bucket import Bucket, BucketInForce
from clarion_controller.package_store.folder import CHUNK
from clarion_controller.stores.folder import FolderStore
from clarion_controller.stores.store import Span, Stored
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable, StoreMisbehaved

CONTENT = random.Random(8).randbytes(CHUNK * 3 + 17)
SIZE = len(CONTENT)
KEY = PACKAGE.removeprefix("/packages/")
NEXT_KEY = KEY.replace("1.0.0", "2.0.0")
SECRET = "X-Signature=5ec4e7"


@dataclass
class Cloud:
    """A store like a cloud's: a folder that has addresses, counts what it is asked, and fails when it is told to."""

    folder: FolderStore
    url: str = "https://bucket.example"
    asked: Counter[str] = field(default_factory=Counter)
    trouble: ClarionError | None = None
    breaks_after: int | None = None
    published: set[str] = field(default_factory=lambda: {KEY, NEXT_KEY})
    may_answer: threading.Event = field(default_factory=threading.Event)
    read: int = 0
    is_let_go: bool = False

    def __post_init__(self) -> None:
        self.may_answer.set()

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        assert threading.current_thread().name.startswith("bucket")
        assert self.may_answer.wait(10)
        if self.trouble:
            raise self.trouble

    def put_if_absent(self, key: str, file: Path, sha256: str) -> bool:
        """Store a file."""
        return self.folder.put_if_absent(key, file, sha256)

    def get(self, key: str, span: Span | None = None) -> Iterator[bytes]:
        """Yield a span's bytes."""
        self._ask("get")
        try:
            for number, chunk in enumerate(self.folder.get(key, span)):
                if number == self.breaks_after:
                    raise CloudUnavailable("the bucket breaks off")
                self.read += len(chunk)
                yield chunk
        finally:
            self.is_let_go = True

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key."""
        self._ask("head")
        return self.folder.head(key)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what is there."""
        return self.folder.list(prefix)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.folder.delete(key)

    def presign(self, key: str, ttl: float) -> str | None:
        """Return an address, another one each time."""
        self._ask("presign")
        return f"{self.url}/packages/{key}?ttl={ttl:.0f}&{SECRET}&n={self.asked['presign']}"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """Make a bucket with one package."""
    path = tmp_path / "bucket" / "packages" / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return Cloud(FolderStore(tmp_path / "bucket" / "packages"))


@pytest.fixture
def home_store(tmp_path: Path) -> Path:
    """Make a controller's own store, with metadata, a policy and a package from before there was a bucket."""
    store = tmp_path / "store"
    for folder in ("metadata", "packages/policy", "packages/shop"):
        (store / folder).mkdir(parents=True)
    (store / "metadata/timestamp.json").write_text("{}")
    (store / f"packages/policy/{'a' * 64}.production.json").write_text("{}")
    (store / "packages/shop/shop-0.9.0.tar.zst").write_bytes(b"earlier")
    return store


def store_with(cloud: Cloud, store: Path, url_ttl: float | None = None, slots: int = 64) -> PackageStore:
    """Return the app of a controller's store whose packages lie in a bucket."""
    bucket = Bucket(cloud, url_ttl, cloud.published)
    return PackageStore(store, lambda: bucket, slots, longest_wait=0.2, longest_stall=0.1 if slots == 1 else 30)


@contextmanager
def delivering(store: Path, cloud: Cloud, url_ttl: float | None) -> Iterator[str]:
    """Serve a controller's store whose packages lie in a bucket."""
    with serving(store, store_with(cloud, store, url_ttl)) as url:
        yield url


# --- redirect


def test_a_package_is_redirected_and_nobody_keeps_the_address(home_store: Path, cloud: Cloud) -> None:
    """307, the signed address as the store made it, and no-store: it is a secret with an end."""
    with delivering(home_store, cloud, 600) as url:
        response, body = ask(url, PACKAGE, range="bytes=0-5")
    assert response.status == 307
    assert response.headers["location"] == f"https://bucket.example{PACKAGE}?ttl=600&{SECRET}&n=1"
    assert response.headers["cache-control"] == "no-store"
    assert SECRET.encode() not in body


def test_metadata_policies_and_what_lies_here_stay_here(home_store: Path, cloud: Cloud) -> None:
    """The bucket is asked for nothing that the controller has itself."""
    with delivering(home_store, cloud, 600) as url:
        for path in ("/metadata/timestamp.json", f"/packages/policy/{'a' * 64}.production.json"):
            assert ask(url, path)[0].status == 200
        assert ask(url, "/packages/shop/shop-0.9.0.tar.zst")[1] == b"earlier"
        for path in ("/metadata/1.root.json", f"/packages/policy/{'b' * 64}.production.json", "/packages/x/y", "/x"):
            assert ask(url, path)[0].status == 404
    assert not cloud.asked


def test_a_fleet_costs_one_signature(home_store: Path, cloud: Cloud) -> None:
    """A hundred who ask while the first signature is made, and all who come later, share it."""
    cloud.may_answer.clear()
    with delivering(home_store, cloud, 600) as url, ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(ask, url, PACKAGE) for _ in range(100)]
        time.sleep(0.3)
        cloud.may_answer.set()
        locations = {answer.result(20)[0].headers["location"] for answer in answers}
        locations.add(str(ask(url, PACKAGE)[0].headers["location"]))
    assert len(locations) == 1
    assert cloud.asked == {"head": 1, "presign": 1}


def test_an_address_is_handed_out_for_half_of_its_life(home_store: Path, cloud: Cloud) -> None:
    """Whoever gets one has the other half to use it."""
    with delivering(home_store, cloud, 1.0) as url:
        first = ask(url, PACKAGE)[0].headers["location"]
        assert ask(url, PACKAGE)[0].headers["location"] == first
        time.sleep(0.6)
        assert ask(url, PACKAGE)[0].headers["location"] != first


def test_who_was_refused_gets_a_new_address_but_not_one_each(
    home_store: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses die early when the controller's rights are renewed; a fleet that notices costs one signature more."""
    monkeypatch.setattr(once, "ANEW_AFTER", 0.3)
    with delivering(home_store, cloud, 600) as url:
        first = ask(url, PACKAGE)[0].headers["location"]
        assert ask(url, PACKAGE, cache_control="no-cache")[0].headers["location"] == first
        time.sleep(0.4)
        later = {str(ask(url, PACKAGE, cache_control="no-cache")[0].headers["location"]) for _ in range(5)}
        assert len(later) == 1
        assert first not in later
        assert ask(url, PACKAGE)[0].headers["location"] in later


def test_an_agent_fetches_from_where_it_is_sent(home_store: Path, cloud: Cloud, tmp_path: Path) -> None:
    """Controller, bucket and fetcher agree, at hundreds of spans for one question."""
    spans = [(offset, 2_000) for offset in range(0, SIZE - 2_000, 4_000)]
    with serving(tmp_path / "bucket") as cloud.url, delivering(home_store, cloud, 600) as url:
        Fetcher(url, HASTE, [cloud.url]).fetch(KEY, tmp_path / "got", spans, total=SIZE)
    got = (tmp_path / "got").read_bytes()
    assert all(got[offset : offset + length] == CONTENT[offset : offset + length] for offset, length in spans)
    assert cloud.asked == {"head": 1, "presign": 1}


# --- proxy


SPANS = [
    ("bytes=0-99", 0, 100),
    (f"bytes={CHUNK - 1}-{CHUNK * 2}", CHUNK - 1, CHUNK + 2),
    (f"bytes={SIZE - 3}-", SIZE - 3, 3),
]


@pytest.mark.parametrize(("header", "offset", "length"), SPANS)
def test_a_range_passes_through(home_store: Path, cloud: Cloud, header: str, offset: int, length: int) -> None:
    """Exactly those bytes are read from the bucket, no more."""
    with delivering(home_store, cloud, None) as url:
        response, body = ask(url, PACKAGE, range=header)
    assert (response.status, body) == (206, CONTENT[offset : offset + length])
    assert response.headers["content-range"] == f"bytes {offset}-{offset + length - 1}/{SIZE}"
    assert cloud.read == length
    assert cloud.asked == {"head": 1, "get": 1}


def test_the_rest_of_http_is_as_for_the_folder(home_store: Path, cloud: Cloud) -> None:
    """The whole, HEAD, If-None-Match, a range outside; the length is asked for once."""
    with delivering(home_store, cloud, None) as url:
        response, body = ask(url, PACKAGE)
        assert (response.status, body) == (200, CONTENT)
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert ask(url, PACKAGE, "HEAD")[0].headers["content-length"] == str(SIZE)
        assert ask(url, PACKAGE, if_none_match=str(response.headers["etag"]))[0].status == 304
        assert ask(url, PACKAGE, range=f"bytes={SIZE}-")[0].status == 416
    assert cloud.asked == {"head": 1, "get": 1}


def test_head_is_answered_here_even_where_packages_are_redirected(home_store: Path, cloud: Cloud) -> None:
    """An address is signed for GET alone."""
    with delivering(home_store, cloud, 600) as url:
        assert ask(url, PACKAGE, "HEAD")[0].headers["content-length"] == str(SIZE)


def test_a_fleet_gets_its_bytes_through_a_few_slots(home_store: Path, cloud: Cloud, tmp_path: Path) -> None:
    """Forty agents at once, four at a time; those who are told to wait come again."""
    app = store_with(cloud, home_store, slots=4)

    def agent(number: int) -> bytes:
        into = tmp_path / f"got-{number}"
        Fetcher(url, Patience(pause=0.05)).fetch(KEY, into, [(0, SIZE)], total=SIZE)
        return into.read_bytes()

    with serving(home_store, app) as url, ThreadPoolExecutor(40) as pool:
        assert list(pool.map(agent, range(40))) == [CONTENT] * 40


# --- what goes wrong


TROUBLES = {
    "a bucket that does not answer": (CloudUnavailable("no answer"), 503, "come again"),
    "a bucket that refuses": (CloudRefused("s3:GetObject is denied"), 502, "the controller's log"),
    "a bucket that cannot be asked": (BadConfig("boto3 is not installed"), 502, "the controller's log"),
}


@pytest.mark.parametrize("url_ttl", [600, None], ids=["redirect", "proxy"])
@pytest.mark.parametrize("case", TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_is_told_honestly_and_passes(
    home_store: Path, cloud: Cloud, url_ttl: float | None, case: tuple[ClarionError, int, str]
) -> None:
    """Hosts learn whether to come again, the log says what is wrong once, and no error is remembered."""
    trouble, status, words = case
    with delivering(home_store, cloud, url_ttl) as url, capture_logs() as logs:
        cloud.trouble = trouble
        for _ in range(3):
            response, body = ask(url, PACKAGE)
            assert (response.status, words in body.decode()) == (status, True)
            assert ("retry-after" in response.headers) == (status == 503)
            assert trouble.message not in body.decode()
        cloud.trouble = None
        assert ask(url, PACKAGE)[0].status in (200, 307)
    assert [(each["event"], each["reason"]) for each in logs] == [("packages.bucket_trouble", trouble.message)]


@pytest.mark.parametrize("url_ttl", [None, 60.0], ids=["proxy", "redirect"])
def test_nobody_makes_us_ask_a_bucket_for_what_is_not_published(
    home_store: Path, cloud: Cloud, url_ttl: float | None
) -> None:
    """Each question costs money and one of a few threads, and whoever reaches the port could ask for ever."""
    with delivering(home_store, cloud, url_ttl) as url:
        for number in range(50):
            assert ask(url, PACKAGE.replace("1.0.0", f"3.0.{number}"))[0].status == 404
    assert not cloud.asked


@pytest.mark.parametrize("url_ttl", [600, None], ids=["redirect", "proxy"])
def test_what_the_bucket_does_not_have_is_missing(home_store: Path, cloud: Cloud, url_ttl: float | None) -> None:
    """404, and no address is signed for it; once it is there it is found."""
    with delivering(home_store, cloud, url_ttl) as url:
        path = PACKAGE.replace("1.0.0", "2.0.0")
        assert ask(url, path)[0].status == 404
        assert cloud.asked == {"head": 1}
        (cloud.folder.path / NEXT_KEY).write_bytes(b"new")
        assert ask(url, path)[0].status in (200, 307)


def test_a_bucket_that_breaks_off_breaks_the_answer_off(home_store: Path, cloud: Cloud, tmp_path: Path) -> None:
    """An answer that is cut short never looks whole, and the agent goes on from there."""
    with delivering(home_store, cloud, None) as url:
        cloud.breaks_after = 1
        with pytest.raises(Exception, match="IncompleteRead"):
            ask(url, PACKAGE)
        Fetcher(url, HASTE).fetch(KEY, tmp_path / "got", [(0, SIZE)], total=SIZE)
    assert (tmp_path / "got").read_bytes() == CONTENT


def test_a_bucket_that_hangs_holds_nobody_up(home_store: Path, cloud: Cloud) -> None:
    """Metadata is served on while every thread of the bucket waits."""
    cloud.may_answer.clear()
    with delivering(home_store, cloud, None) as url, ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(ask, url, PACKAGE.replace("1.0.0", f"1.0.{number}")) for number in range(40)]
        time.sleep(0.2)
        began = time.monotonic()
        assert ask(url, "/metadata/timestamp.json")[0].status == 200
        assert time.monotonic() - began < 2
        cloud.may_answer.set()
        assert {each.result(20)[0].status for each in waiting} == {200, 404}


def test_a_reader_that_stalls_lets_the_bucket_go(home_store: Path, cloud: Cloud) -> None:
    """Its slot is free again, and so is the connection to the bucket."""

    async def play() -> None:
        app = store_with(cloud, home_store, slots=1)
        await Reader(app).task
        second = Reader(app)
        second.may_take.set()
        await second.task
        assert b"".join(message.get("body", b"") for message in second.taken) == CONTENT

    asyncio.run(play())
    assert cloud.is_let_go


def test_nothing_is_read_for_who_has_hung_up(home_store: Path, cloud: Cloud) -> None:
    """A host that goes away does not cost the rest of a package."""
    with (cloud.folder.path / KEY).open("wb") as file:
        file.truncate(200 * 2**20)
    with delivering(home_store, cloud, None) as url:
        parts = urlsplit(url)
        with socket.create_connection((str(parts.hostname), parts.port or 0)) as connection:
            connection.sendall(f"GET {PACKAGE} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            assert connection.recv(1000)
        until = time.monotonic() + 20
        while not cloud.is_let_go:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert cloud.read < 50 * 2**20


# --- configuration


def test_what_fleet_toml_says_counts_at_once(tmp_path: Path) -> None:
    """No restart; the same bucket while nothing changes, and the last one while fleet.toml cannot be read."""
    said: list[fleet.Store | ClarionError] = [fleet.Store()]

    def say() -> fleet.Store:
        if isinstance(said[0], ClarionError):
            raise said[0]
        return said[0]

    in_force = BucketInForce(say, tmp_path)
    assert in_force() is None
    said[0] = fleet.Store(s3=fleet.S3(bucket="acme"))
    bucket = in_force()
    assert isinstance(bucket, Bucket)
    assert in_force() is bucket
    said[0] = BadConfig("a typo")
    assert in_force() is bucket
    said[0] = fleet.Store(s3=fleet.S3(bucket="other"))
    assert in_force() not in (None, bucket)
    said[0] = fleet.Store()
    assert in_force() is None


def test_a_redirect_that_the_host_does_not_allow_is_told_there(home_store: Path, cloud: Cloud, tmp_path: Path) -> None:
    """The whole chain: a bucket over plain http that agent.toml does not list."""
    cloud.url = "http://minio.internal:9000"
    with delivering(home_store, cloud, 600) as url, pytest.raises(StoreMisbehaved) as caught:
        Fetcher(url, HASTE).fetch(KEY, tmp_path / "got", [(0, SIZE)], total=SIZE)
    assert 'package_origins = ["http://minio.internal:9000"]' in str(caught.value)
    assert SECRET not in str(caught.value)
