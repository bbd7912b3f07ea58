"""The package store over HTTP: `<home>/store`, read-only, as an ASGI app for uvicorn.

========================  ==========================================================
`/metadata/<file>.json`   TUF metadata; never cached without asking again
`/packages/<path>`        packages, manifests, policies; never change, cached for ever
========================  ==========================================================

- Only paths of the shapes below exist; nothing is listed, no link is followed.
- GET, HEAD, ETags and ranges (RFC 9110). Of several ranges in one request none is
  honoured and the whole file is sent, as the RFC allows: no client of ours asks so.
- At most `slots` bodies are on their way at once, each a `CHUNK` ahead of its reader, so a
  fleet that asks at once costs bounded memory; who waits too long is told 503 and comes
  again. Bodies of one chunk, such as metadata, never wait.
- A reader that takes longer than `STALL_S` for one chunk loses its slot.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CHUNK = 256 * 1024
SLOTS = 128
SLOT_WAIT_S = 5.0  # less than an agent waits for an answer
STALL_S = 30.0
BACKLOG = 4096

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_METADATA = re.compile(rf"/(metadata/(?:timestamp|[1-9][0-9]{{0,9}}\.(?:root|targets|snapshot|app-{_NAME}))\.json)")
_PACKAGE = re.compile(
    rf"/(packages/(?:policy/[0-9a-f]{{64}}\.{_NAME}\.json|({_NAME})/\2-{_VERSION}\.(?:tar\.zst|manifest\.json)))"
)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Refusal(Exception):
    """A request that gets no file: the status, a line for people, more headers."""

    def __init__(self, status: int, line: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(line)
        self.status = status
        self.body = line.encode() + b"\n"
        self.headers = list(headers)


@dataclass(frozen=True)
class OpenFile:
    """A plain file of the store, opened."""

    descriptor: int
    size: int
    etag: str
    headers: Headers


@dataclass(frozen=True)
class Span:
    """Which bytes to send."""

    offset: int
    length: int


@dataclass(frozen=True)
class PackageStore:
    """The ASGI app. It holds nothing but the folder, so any number may serve the same store."""

    store: Path
    slots: int = SLOTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._answer(scope, send)
        except Refusal as refusal:
            length = (b"content-length", b"%d" % len(refusal.body))
            headers = [(b"content-type", b"text/plain"), length, *refusal.headers]
            await _start(send, refusal.status, headers)
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else refusal.body})

    @cached_property
    def _slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.slots)

    async def _answer(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "only GET and HEAD", (b"allow", b"GET, HEAD"))
        async with _opened(self.store, scope["path"]) as file:
            asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
            if _is_known(file, asked.get(b"if-none-match", "")):
                await _start(send, 304, file.headers)
                await send({"type": "http.response.body"})
            else:
                await self._send(scope["method"], file, asked, send)

    async def _send(self, method: str, file: OpenFile, asked: dict[bytes, str], send: Send) -> None:
        span = _span(file, asked) if method == "GET" else None
        status, span = (200, Span(0, file.size)) if span is None else (206, span)
        headers = [*file.headers, (b"content-length", b"%d" % span.length)]
        if status == 206:
            last = span.offset + span.length - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (span.offset, last, file.size)))
        if method == "HEAD":
            await _start(send, status, headers)
            await send({"type": "http.response.body"})
        elif span.length <= CHUNK:
            await _send_span(send, status, headers, file, span)
        else:
            async with self._slot():
                await _send_span(send, status, headers, file, span)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._slots.acquire(), SLOT_WAIT_S)
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
    return listener


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send_span(send: Send, status: int, headers: Headers, file: OpenFile, span: Span) -> None:
    await _start(send, status, headers)
    offset, end = span.offset, span.offset + span.length
    while True:
        chunk = await asyncio.to_thread(os.pread, file.descriptor, min(CHUNK, end - offset), offset)
        offset += len(chunk)
        has_more = offset < end and bool(chunk)
        message = {"type": "http.response.body", "body": chunk, "more_body": has_more}
        await asyncio.wait_for(send(message), STALL_S)
        if not has_more:
            return


@asynccontextmanager
async def _opened(store: Path, path: str) -> AsyncIterator[OpenFile]:
    file = await asyncio.to_thread(_open, store, path)
    try:
        yield file
    finally:
        os.close(file.descriptor)


def _open(store: Path, path: str) -> OpenFile:
    match = _METADATA.fullmatch(path) or _PACKAGE.fullmatch(path)
    if match is None:
        raise Refusal(404, "no such file")
    try:
        descriptor = os.open(store / match[1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise Refusal(404, "no such file") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Refusal(404, "no such file")
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return OpenFile(descriptor, status.st_size, etag, _headers(path, etag))


def _headers(path: str, etag: str) -> Headers:
    is_metadata = path.startswith("/metadata/")
    return [
        (b"content-type", b"application/json" if path.endswith(".json") else b"application/zstd"),
        (b"cache-control", b"no-cache" if is_metadata else b"public, max-age=31536000, immutable"),
        (b"etag", etag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
    ]


def _is_known(file: OpenFile, if_none_match: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return file.etag in known or known == ["*"]


def _span(file: OpenFile, asked: dict[bytes, str]) -> Span | None:
    """Return the one range that is asked for, or None for the whole file.

    Raises:
        Refusal: the range lies outside the file.
    """
    match = _RANGE.fullmatch(asked.get(b"range", ""))
    if match is None or match.group(1, 2) == ("", "") or asked.get(b"if-range", file.etag) != file.etag:
        return None
    first, last = (int(number) if number else None for number in match.groups())
    if first is None:
        first, last = max(file.size - (last or 0), 0), None
    elif last is not None and last < first:
        return None
    if first >= file.size:
        raise Refusal(416, "that range is outside the file", (b"content-range", b"bytes */%d" % file.size))
    last = file.size - 1 if last is None else min(last, file.size - 1)
    return Span(first, last - first + 1)
