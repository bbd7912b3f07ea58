"""The package store over HTTP, served by a real uvicorn."""

from __future__ import annotations

import asyncio
import http.client
import os
import random
import socket
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.stores import serving

from clarion_controller.package_store.app import DEAD_MS, PackageStore, listen
from clarion_controller.package_store.folder import CHUNK

CONTENT = random.Random(3).randbytes(CHUNK * 3 + 17)
SIZE = len(CONTENT)
PACKAGE = "/packages/shop/shop-1.0.0.tar.zst"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a store with one package, some metadata, and things that nobody may see."""
    store = tmp_path_factory.mktemp("home") / "store"
    for folder in ("metadata", "packages/shop", "packages/policy"):
        (store / folder).mkdir(parents=True)
    (store / "packages/shop/shop-1.0.0.tar.zst").write_bytes(CONTENT)
    (store / "packages/shop/shop-1.0.0.manifest.json.zst").write_text("{}")
    (store / "packages/shop/.partial-x").write_text("half a package")
    (store / "packages/shop/shop-2.0.0.tar.zst").symlink_to("/etc/passwd")
    (store / "packages/shop/shop-3.0.0.tar.zst").mkdir()
    os.mkfifo(store / "packages/shop/shop-4.0.0.tar.zst")
    (store / "metadata/timestamp.json").write_text('{"signed": 1}')
    (store / "metadata/1.root.json").write_text("{}")
    (store / "metadata/.lock").write_text("")
    (store.parent / "keys").mkdir()
    (store.parent / "keys/root.key").write_text("secret")
    with serving(store) as address:
        yield address


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request exactly as written; return the response and its body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_a_package_comes_whole_and_may_be_cached_for_ever(url: str) -> None:
    """A version never changes its bytes, so nobody needs to ask twice."""
    response, body = ask(url, PACKAGE)
    assert (response.status, body) == (200, CONTENT)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-length"] == str(SIZE)


def test_metadata_is_never_used_without_asking(url: str) -> None:
    """A cache that keeps an old timestamp would freeze a fleet."""
    response, body = ask(url, "/metadata/timestamp.json")
    assert (response.status, body) == (200, b'{"signed": 1}')
    assert response.headers["cache-control"] == "no-cache"


def test_head_tells_the_same_without_the_body(url: str) -> None:
    """HEAD has the headers of GET."""
    response, body = ask(url, PACKAGE, "HEAD")
    assert (response.status, body, response.headers["content-length"]) == (200, b"", str(SIZE))
    assert ask(url, PACKAGE + "x", "HEAD")[0].status == 404


RANGES = {
    "from the beginning": ("bytes=0-99", 0, 100),
    "from the middle": (f"bytes={CHUNK - 1}-{CHUNK * 2}", CHUNK - 1, CHUNK + 2),
    "one byte": ("bytes=5-5", 5, 1),
    "to the end": (f"bytes={SIZE - 3}-", SIZE - 3, 3),
    "beyond the end": (f"bytes={SIZE - 3}-{SIZE + 100}", SIZE - 3, 3),
    "the last bytes": ("bytes=-7", SIZE - 7, 7),
    "more last bytes than there are": (f"bytes=-{SIZE * 2}", 0, SIZE),
    "all of it": (f"bytes=0-{SIZE - 1}", 0, SIZE),
}


@pytest.mark.parametrize(("header", "offset", "length"), RANGES.values(), ids=RANGES.keys())
def test_one_range_is_sent_as_asked(url: str, header: str, offset: int, length: int) -> None:
    """Status 206, exactly those bytes, and a Content-Range that says which."""
    response, body = ask(url, PACKAGE, range=header)
    assert (response.status, body) == (206, CONTENT[offset : offset + length])
    assert response.headers["content-range"] == f"bytes {offset}-{offset + length - 1}/{SIZE}"
    assert response.headers["content-length"] == str(length)


@pytest.mark.parametrize(
    "header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=999999999999999999-", "bytes=-0"]
)
def test_a_range_outside_the_file_is_refused(url: str, header: str) -> None:
    """Status 416 tells how long the file is."""
    response, _ = ask(url, PACKAGE, range=header)
    assert response.status == 416
    assert response.headers["content-range"] == f"bytes */{SIZE}"


IGNORED = [
    "bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0x1-2", "bytes= 1-2",
    "bytes=" + "9" * 30 + "-",
]  # fmt: skip


@pytest.mark.parametrize("header", IGNORED)
def test_ranges_that_are_not_understood_are_ignored(url: str, header: str) -> None:
    """RFC 9110 lets a server send the whole; several ranges in one are among these."""
    response, body = ask(url, PACKAGE, range=header)
    assert (response.status, body) == (200, CONTENT)


def test_an_etag_saves_the_body(url: str) -> None:
    """If-None-Match is answered 304; If-Range of another file brings the whole."""
    etag = ask(url, PACKAGE)[0].headers["etag"]
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response, body = ask(url, PACKAGE, if_none_match=header)
        assert (response.status, body, response.headers["etag"]) == (304, b"", etag)
    assert ask(url, PACKAGE, if_none_match='"other"')[0].status == 200
    assert ask(url, PACKAGE, range="bytes=0-1", if_range=etag)[0].status == 206
    assert ask(url, PACKAGE, range="bytes=0-1", if_range='"other"')[0].status == 200


HIDDEN = [
    "/", "", "/packages", "/packages/", "/packages/shop/", "/metadata", "/metadata/", "/metadata/.lock",
    "/metadata/root.json", "/metadata/0.root.json", "/metadata/1.root.json/", "//metadata/timestamp.json",
    "/metadata/../../keys/root.key", "/packages/../../keys/root.key", "/packages/shop/../../../keys/root.key",
    "/packages/%2e%2e/%2e%2e/keys/root.key", "/packages/shop/%2e%2e%2f%2e%2e%2f%2e%2e%2fkeys%2froot.key",
    "/packages/..%5c..%5ckeys", "/metadata/timestamp.json%00", "/metadata/timestamp.json%0a", "/../keys/root.key",
    "/keys/root.key", "/packages/shop/.partial-x", "/packages/shop/shop-2.0.0.tar.zst", "/METADATA/timestamp.json",
    "/packages/shop/shop-3.0.0.tar.zst", "/packages/shop/shop-4.0.0.tar.zst", "/packages/shop/shop-9.tar.zst",
    "/packages/shop/shop-1.0.0.tar.zst.sig", "/packages/shop/other-1.0.0.tar.zst", "/packages/policy/production.json",
    "/packages/shop/shop-1.0.0.tar.zst/..", "/packages/shop/shop-\u0661.0.0.tar.zst".encode().decode("latin-1"),
]  # fmt: skip


@pytest.mark.parametrize("path", HIDDEN)
def test_nothing_else_exists(url: str, path: str) -> None:
    """No listing, no traversal, no link, no pipe, no half file, and the answer repeats nothing of the question."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400")
    assert b"secret" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
def test_nothing_can_be_changed(url: str, method: str) -> None:
    """Only GET and HEAD are answered."""
    response, _ = ask(url, PACKAGE, method)
    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD"


def test_a_fleet_that_asks_at_once_is_served(url: str) -> None:
    """A hundred readers at once all get the right bytes."""
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(ask(url, PACKAGE)[1])) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert bodies == [CONTENT] * 100


def test_small_answers_do_not_wait_for_an_acknowledgement() -> None:
    """Nagle's algorithm is off on every connection that the listener takes, whatever asyncio knows of it."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == DEAD_MS


class Reader:
    """One request straight to the app, whose reader takes chunks only when it is let."""

    def __init__(self, app: PackageStore, path: str = PACKAGE) -> None:
        self.taken: list[MutableMapping[str, Any]] = []
        self.may_take, self.has_begun = asyncio.Event(), asyncio.Event()
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> MutableMapping[str, Any]:
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.has_begun.set()
        if message["type"] == "http.response.body":
            await self.may_take.wait()
        self.taken.append(message)

    async def begun(self) -> Reader:
        """Return this reader once it has its slot: the order in which two requests get to it is nobody's promise."""
        await self.has_begun.wait()
        return self


def store_in(folder: Path, longest_wait: float = 5.0, longest_stall: float = 30.0) -> PackageStore:
    """Return an app with one slot over a store with one package."""
    (folder / "packages/shop").mkdir(parents=True)
    (folder / "packages/shop/shop-1.0.0.tar.zst").write_bytes(CONTENT)
    (folder / "packages/shop/shop-1.0.0.manifest.json.zst").write_text("{}")
    return PackageStore(folder, slots=1, longest_wait=longest_wait, longest_stall=longest_stall)


def test_who_waits_too_long_for_a_slot_is_told_to_come_again(tmp_path: Path) -> None:
    """503 with Retry-After, while the reader that has the slot is served on, and small files pass by."""

    async def play() -> None:
        app = store_in(tmp_path, longest_wait=0.05)
        slow, second = await Reader(app).begun(), Reader(app)
        second.may_take.set()
        await second.task
        assert second.taken[0]["status"] == 503
        assert (b"retry-after", b"2") in second.taken[0]["headers"]
        small = Reader(app, "/packages/shop/shop-1.0.0.manifest.json.zst")
        small.may_take.set()
        await small.task
        assert small.taken[0]["status"] == 200
        slow.may_take.set()
        await slow.task
        assert b"".join(message.get("body", b"") for message in slow.taken) == CONTENT

    asyncio.run(play())


def test_a_reader_that_takes_nothing_loses_its_slot(tmp_path: Path) -> None:
    """The next one gets it; nobody can hold all slots by being slow."""

    async def play() -> None:
        app = store_in(tmp_path, longest_stall=0.05)
        stalled, second = await Reader(app).begun(), Reader(app)
        second.may_take.set()
        await asyncio.gather(stalled.task, second.task)
        assert [message["type"] for message in stalled.taken] == ["http.response.start"]
        assert b"".join(message.get("body", b"") for message in second.taken) == CONTENT

    asyncio.run(play())


def test_at_most_one_chunk_a_reader_is_in_memory(tmp_path: Path) -> None:
    """Bodies are sent in chunks of bounded size, so memory is slots times chunk."""

    async def play() -> None:
        reader = Reader(store_in(tmp_path))
        reader.may_take.set()
        await reader.task
        assert [len(message["body"]) for message in reader.taken[1:]] == [CHUNK, CHUNK, CHUNK, 17]

    asyncio.run(play())
