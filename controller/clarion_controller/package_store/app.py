"""The package store over HTTP: `<home>/store`, and perhaps a bucket, read-only, as an ASGI app for uvicorn.

========================  ==========================================================
`/metadata/<file>.json`   TUF metadata; never cached without asking again
`/packages/policy/...`    policies; never change, cached for ever
`/packages/<app>/...`     packages and manifests; likewise. What the folder does not
                          have lies in the bucket, if there is one
========================  ==========================================================

- Only paths of the shapes below exist; nothing is listed, no link is followed.
- GET, HEAD, ETags and ranges (RFC 9110), see answer.py.
- At most `slots` bodies are on their way at once, each a `CHUNK` ahead of its reader, so a
  fleet that asks at once costs bounded memory; who waits too long is told 503 and comes
  again. Bodies of one chunk from the folder, such as metadata, never wait.
- A reader that takes longer than `longest_stall` for one chunk loses its slot and its connection; for one that
  has hung up nothing more is read.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clarion_controller.package_store.answer import Answer, File, Headers, Refusal, answer
from clarion_controller.package_store.bucket import Bucket
from clarion_controller.package_store.folder import CHUNK, opened

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BACKLOG = 4096
DEAD_MS = 60_000  # how long a reader may leave bytes unacknowledged before the kernel drops it

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_METADATA = re.compile(rf"/(metadata/(?:timestamp|[1-9][0-9]{{0,9}}\.(?:root|targets|snapshot|app-{_NAME}))\.json)")
_POLICY = re.compile(rf"/(packages/policy/[0-9a-f]{{64}}\.{_NAME}\.json)")
_PACKAGE = re.compile(rf"/(packages/(({_NAME})/\3-{_VERSION}\.(?:tar\.zst|manifest\.json\.zst)))")


@dataclass(frozen=True)
class PackageStore:
    """The ASGI app. It holds no state but what it remembers of its bucket, so any number may serve the same store."""

    store: Path
    bucket: Callable[[], Bucket | None] = lambda: None
    slots: int = 64
    longest_wait: float = 5.0  # for a slot, in seconds; less than an agent waits for an answer
    longest_stall: float = 30.0  # for one chunk to be taken, in seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._respond(scope, receive, send)
        except Refusal as refusal:
            length = (b"content-length", b"%d" % len(refusal.body))
            headers = [(b"content-type", b"text/plain"), length, *refusal.headers]
            await _start(send, refusal.status, headers)
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else refusal.body})

    @cached_property
    def _slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.slots)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "only GET and HEAD", (b"allow", b"GET, HEAD"))
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        async with self._opened(scope["path"], scope["method"], asked) as file:
            reply = answer(scope["method"], file, asked)
            if reply.span.length == 0 or (file.is_near and reply.span.length <= CHUNK):
                await self._send(reply, send)
            else:
                async with self._slot(), _watching(receive) as has_gone:
                    await self._send(reply, send, has_gone)

    @asynccontextmanager
    async def _opened(self, path: str, method: str, asked: Mapping[bytes, str]) -> AsyncIterator[File]:
        package = _PACKAGE.fullmatch(path)
        match = package or _METADATA.fullmatch(path) or _POLICY.fullmatch(path)
        if match is None:
            raise Refusal(404, "no such file")
        async with opened(self.store / match[1], path) as file:
            if file:
                yield file
            elif package and (bucket := self.bucket()):
                if method == "GET":
                    await bucket.redirect(package[2], is_anew="no-cache" in asked.get(b"cache-control", ""))
                yield await bucket.file(path, package[2])
            else:
                raise Refusal(404, "no such file")

    async def _send(self, reply: Answer, send: Send, has_gone: Callable[[], bool] = lambda: False) -> None:
        """Send the answer. Where it breaks off, the server closes the connection, as the answer is not complete.

        Raises:
            Refusal: the file cannot be read; nothing was sent yet.
        """
        left = reply.span.length
        async with aclosing(reply.file.read(reply.span)) as chunks:
            chunk = await anext(chunks, b"")
            await _start(send, reply.status, reply.headers)
            while chunk or not left:
                left -= len(chunk)
                message = {"type": "http.response.body", "body": chunk, "more_body": left > 0}
                if not await self._is_taken(send(message)) or not left or has_gone():
                    return
                chunk = await anext(chunks, b"")

    async def _is_taken(self, sending: Awaitable[None]) -> bool:
        try:
            await asyncio.wait_for(sending, self.longest_stall)
        except asyncio.TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._slots.acquire(), self.longest_wait)
        except asyncio.TimeoutError:
            raise Refusal(503, "too many downloads at once; come again", (b"retry-after", b"2")) from None
        try:
            yield
        finally:
            self._slots.release()


def listen(address: str, port: int) -> socket.socket:
    """Return the socket to hand to uvicorn.

    asyncio turns Nagle's algorithm off only on sockets whose protocol it knows, which those that uvicorn
    binds itself are not always; with it on, each small answer waits 40 ms for the reader's acknowledgement.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_MS)
    return listener


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


@asynccontextmanager
async def _watching(receive: Receive) -> AsyncIterator[Callable[[], bool]]:
    """Hand out whether the reader has hung up: uvicorn goes on taking what nobody reads any more."""
    watch = asyncio.create_task(_hung_up(receive))
    try:
        yield watch.done
    finally:
        watch.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
