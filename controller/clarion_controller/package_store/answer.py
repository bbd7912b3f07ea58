"""What a request for a file is answered with: the whole, a range, nothing new, or a refusal (RFC 9110). No IO here.

Of several ranges in one request none is honoured and the whole file is sent, as the RFC allows: no client of
ours asks so.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from clarion_controller.stores.store import Span

Headers = list[tuple[bytes, bytes]]

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Refusal(Exception):
    """A request that gets no file: the status, a line for people, more headers."""

    def __init__(self, status: int, line: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(line)
        self.status = status
        self.body = line.encode() + b"\n"
        self.headers = list(headers)


@dataclass(frozen=True)
class File:
    """A file of the store: what to say about it, and how to read it.

    `is_near` says that reading a chunk of it occupies nobody, as from a disk.
    """

    size: int
    headers: Headers
    etag: str
    read: Callable[[Span], AsyncGenerator[bytes, None]]
    is_near: bool


@dataclass(frozen=True)
class Answer:
    """What is sent: status, headers and which bytes of the file."""

    status: int
    headers: Headers
    file: File
    span: Span


def headers_of(path: str, etag: str) -> Headers:
    """Return the headers that go with a file whatever part of it is sent."""
    is_metadata = path.startswith("/metadata/")
    return [
        (b"content-type", b"application/json" if path.endswith(".json") else b"application/zstd"),
        (b"cache-control", b"no-cache" if is_metadata else b"public, max-age=31536000, immutable"),
        (b"etag", etag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
    ]


def answer(method: str, file: File, asked: Mapping[bytes, str]) -> Answer:
    """Return the answer to a GET or HEAD with the headers `asked`.

    Raises:
        Refusal: the range lies outside the file.
    """
    if _is_known(file, asked.get(b"if-none-match", "")):
        return Answer(304, file.headers, file, Span(0, 0))
    span = _span(file, asked) if method == "GET" else None
    status, sent = (206, span) if span else (200, Span(0, file.size))
    headers = [*file.headers, (b"content-length", b"%d" % sent.length)]
    if span:
        last = span.offset + span.length - 1
        headers.append((b"content-range", b"bytes %d-%d/%d" % (span.offset, last, file.size)))
    return Answer(status, headers, file, sent if method == "GET" else Span(0, 0))


def _is_known(file: File, if_none_match: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return file.etag in known or known == ["*"]


def _span(file: File, asked: Mapping[bytes, str]) -> Span | None:
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
