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
- A reader that takes longer than `longest_stall` for one chunk loses its slot and its connection.
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
BACKLOG = 4096
DEAD_MS = 60_000  # how long a reader may leave bytes unacknowledged before the kernel drops it

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_METADATA = re.compile(rf"/(metadata/(?:timestamp|[1-9][0-9]{{0,9}}\.(?:root|targets|snapshot|app-{_NAME}))\.json)")
_PACKAGE = re.compile(
    rf"/(packages/(?:policy/[0-9a-f]{{64}}\.{_NAME}\.json|({_NAME})/\2-{_VERSION}\.(?:tar\.zst|manifest\.json\.zst)))"
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
class Answer:
    """What is sent: status, headers and which bytes of the file."""

    status: int
    headers: Headers
    file: OpenFile
    span: Span


@dataclass(frozen=True)
class PackageStore:
    """The ASGI app. It holds nothing but the folder, so any number may serve the same store."""

    store: Path
    slots: int = 64
    longest_wait: float = 5.0  # for a slot, in seconds; less than an agent waits for an answer
    longest_stall: float = 30.0  # for one chunk to be taken, in seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._respond(scope, send)
        except Refusal as refusal:
            length = (b"content-length", b"%d" % len(refusal.body))
            headers = [(b"content-type", b"text/plain"), length, *refusal.headers]
            await _start(send, refusal.status, headers)
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else refusal.body})

    @cached_property
    def _slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.slots)

    async def _respond(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "only GET and HEAD", (b"allow", b"GET, HEAD"))
        async with _opened(self.store, scope["path"]) as file:
            answer = _answer(scope["method"], file, {name: value.decode("latin-1") for name, value in scope["headers"]})
            if answer.span.length <= CHUNK:
                await self._send(answer, send)
            else:
                async with self._slot():
                    await self._send(answer, send)

    async def _send(self, answer: Answer, send: Send) -> None:
        await _start(send, answer.status, answer.headers)
        offset, end = answer.span.offset, answer.span.offset + answer.span.length
        has_more = True
        while has_more:
            chunk = await asyncio.to_thread(os.pread, answer.file.descriptor, min(CHUNK, end - offset), offset)
            offset += len(chunk)
            has_more = bool(chunk) and offset < end
            message = {"type": "http.response.body", "body": chunk, "more_body": has_more}
            try:
                await asyncio.wait_for(send(message), self.longest_stall)
            except asyncio.TimeoutError:
                return  # the server closes a connection whose answer is not complete

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


def _answer(method: str, file: OpenFile, asked: dict[bytes, str]) -> Answer:
    if _is_known(file, asked.get(b"if-none-match", "")):
        return Answer(304, file.headers, file, Span(0, 0))
    span = _span(file, asked) if method == "GET" else None
    status, sent = (206, span) if span else (200, Span(0, file.size))
    headers = [*file.headers, (b"content-length", b"%d" % sent.length)]
    if span:
        last = span.offset + span.length - 1
        headers.append((b"content-range", b"bytes %d-%d/%d" % (span.offset, last, file.size)))
    return Answer(status, headers, file, sent if method == "GET" else Span(0, 0))


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
