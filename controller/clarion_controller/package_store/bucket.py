"""How packages get from a bucket to hosts: each is sent there with a signed address, or the bytes pass through us.

- What a fleet asks at once is asked of the bucket once: an address serves everybody for half of its life.
- The SDKs block, so they run in threads of their own and keep neither the loop nor anybody else's threads waiting.
- What the bucket answers is told honestly: 404 it has no such object, 502 it refuses us, 503 it does not answer.
- Nobody makes us ask a bucket, which costs, for what is not published: anybody may ask us for anything.
- A signed address is a secret: it is in no log line.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from clarion_controller.fleet_toml import fleet
from clarion_controller.package_store.answer import File, Refusal, headers_of
from clarion_controller.package_store.listed import PublishedKeys
from clarion_controller.package_store.once import Once
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.folder import FolderStore
from clarion_controller.stores.store import Span, Store
from clarion_protocol.errors import ClarionError, CloudUnavailable, UnknownPackage

THREADS = 16
LENGTHS_KEPT = 300.0  # seconds
ADDRESSES_KEPT = 3600.0  # seconds at most; rights that are taken away should not work for days
TELL_EVERY = 60.0  # seconds

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class BucketInForce:
    """The bucket that fleet.toml's `[store]` names now; None where packages lie in the home's folder.

    While fleet.toml cannot be read, what it said before counts: hosts that are in the middle of a download
    need not suffer from a typo, and who types is told by the next command.
    """

    def __init__(self, said: Callable[[], fleet.Store], home: Path) -> None:
        self._said = said
        self._home = home
        self._config = fleet.Store()
        self._bucket: Bucket | None = None

    def __call__(self) -> Bucket | None:
        """Return it; the same one, with what it remembers, as long as `[store]` stays the same."""
        with suppress(ClarionError, OSError):
            config = self._said()
            if config != self._config:
                self._bucket = _bucket_of(config, self._home)
                self._config = config
        return self._bucket


class Bucket:
    """A bucket, and how hosts get what lies in it: by addresses that live `url_ttl` seconds, or (None) through us.

    It is asked for `published` keys only.
    """

    def __init__(self, store: Store, url_ttl: float | None, published: Container[str]) -> None:
        self._store = store
        self._published = published
        self._url_ttl = url_ttl
        self._threads = ThreadPoolExecutor(THREADS, "bucket")
        self._lengths = Once(self._length, LENGTHS_KEPT, self._threads)
        self._addresses = Once(self._address, min((url_ttl or 0) / 2, ADDRESSES_KEPT), self._threads)
        self._told_at = -TELL_EVERY

    async def redirect(self, key: str, *, is_anew: bool) -> None:
        """Send who asks to the bucket, if that is how packages are delivered; `is_anew`: an older address failed.

        Raises:
            Refusal: with the address (307), or because there is none (404, 502, 503).
        """
        if self._url_ttl is None:
            return
        with self._honest():
            address = await self._addresses.of(key, is_anew=is_anew)
        if address:
            location = (b"location", address.encode())
            raise Refusal(307, "it lies in the bucket", location, (b"cache-control", b"no-store"))

    async def file(self, path: str, key: str) -> File:
        """Return the object `key`, which is asked for as `path`, to be read through us.

        Raises:
            Refusal: it is not there, or the bucket does not say.
        """
        with self._honest():
            length = await self._lengths.of(key)
        etag = f'"{length:x}"'
        return File(length, headers_of(path, etag), etag, partial(self._read, key), is_near=False)

    async def _read(self, key: str, span: Span) -> AsyncGenerator[bytes, None]:
        """Yield what a span holds; ends early if the bucket breaks off.

        Raises:
            Refusal: the bucket does not even begin.
        """
        reading, has_begun = _Reading(self._store.get(key, span)), False
        try:
            while span.length:
                with self._honest():
                    chunk = await self._in_thread(reading.more)
                if not chunk:
                    return
                has_begun = True
                yield chunk
        except Refusal:
            if not has_begun:
                raise
        finally:
            # Not waited for: a bucket that hangs holds a thread, never the loop.
            self._threads.submit(reading.end)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _length(self, key: str) -> int:
        stored = self._store.head(key) if key in self._published else None
        if stored is None:
            raise UnknownPackage(f"the bucket has no {key}")
        return stored.length

    def _address(self, key: str) -> str | None:
        self._length(key)
        return self._store.presign(key, self._url_ttl or 0)

    @contextmanager
    def _honest(self) -> Iterator[None]:
        """Turn what the bucket says into what hosts are told.

        Raises:
            Refusal: in place of every error of ours.
        """
        try:
            yield
        except UnknownPackage:
            raise Refusal(404, "no such file") from None
        except CloudUnavailable as error:
            self._tell(error)
            raise Refusal(503, "the bucket does not answer; come again", (b"retry-after", b"5")) from None
        except ClarionError as error:
            self._tell(error)
            raise Refusal(502, "the bucket refuses; the controller's log says why") from None

    def _tell(self, error: ClarionError) -> None:
        """Log what is wrong, once a minute however many hosts ask."""
        if time.monotonic() - self._told_at >= TELL_EVERY:
            self._told_at = time.monotonic()
            _log.error("packages.bucket_trouble", code=error.code, reason=error.message, hint=error.hint)


def _bucket_of(config: fleet.Store, home: Path) -> Bucket | None:
    store = store_of(config, home)
    if isinstance(store, FolderStore):
        return None
    return Bucket(store, float(config.url_ttl) if config.deliver == "redirect" else None, PublishedKeys(home))


class _Reading:
    """An object that is being read; its end may come from another thread than the next chunk."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._alone = threading.Lock()

    def more(self) -> bytes:
        """Return the next bytes; none at the end."""
        with self._alone:
            return next(self._chunks, b"")

    def end(self) -> None:
        """Let go of the connection."""
        close = getattr(self._chunks, "close", None)
        with self._alone:
            if close:
                close()
