"""One place where a file of a package store can be asked for: the store itself, or where it redirects.

A span is accepted only with status 206 and exactly its Content-Range (or 200, if it is the whole file), so a cache
that answers with something else is noticed at its first line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from urllib3.response import BaseHTTPResponse

from clarion_agent.net.redirect import FOLLOWED
from clarion_agent.net.web_server import BROKEN_OFF, AttemptFailed, WebServer
from clarion_protocol.errors import ClarionError

# How S3, Google and Azure say that a signed address is none or has expired.
_REFUSED = (400, 401, 403)
_MISSING = (404, 410)


class NotInStore(AttemptFailed):
    """The store says that it has no such file, or that it does not show it."""


class Redirected(AttemptFailed):
    """The server says that the file lies at `location`; a failure unless somebody goes there."""

    def __init__(self, error: ClarionError, location: str) -> None:
        super().__init__(error)
        self.location = location


class Expired(AttemptFailed):
    """The server to which the store redirected refuses its address."""


@dataclass(frozen=True)
class Span:
    """Bytes of a file whose whole length, `total`, is known."""

    offset: int
    length: int
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the file."""
        return self.offset == 0 and self.length == self.total

    def after(self, received: int) -> Span:
        """Return what is left of this when `received` bytes of it are here."""
        return Span(self.offset + received, self.length - received, self.total)

    def __str__(self) -> str:
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.total}"


@dataclass(frozen=True)
class Place:
    """Where a file is asked for: the server, the file's path in the store, and what the server is asked for."""

    server: WebServer
    path: str
    target: str
    is_elsewhere: bool = False

    def span(self, span: Span, headers: Mapping[str, str]) -> Iterator[bytes]:
        """Yield exactly the bytes of `span`, in chunks.

        Raises:
            AttemptFailed: they could not be had; some may have been yielded.
        """
        range_header = {"Range": f"bytes={span.offset}-{span.offset + span.length - 1}"}
        with self.answer({**headers, **range_header}) as response:
            _check_span(self.server, self.path, span, response)
            left = span.length
            for chunk in self.server.body(response, self.path, span.length):
                left -= len(chunk)
                yield chunk
            # Without a Content-Length the end of the connection looks like the end of the body.
            if left:
                raise AttemptFailed(self.server.away(BROKEN_OFF), may_pass=True)

    @contextmanager
    def answer(self, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        """Ask; hand out a response that is at least about the file.

        Raises:
            AttemptFailed: there is none.
        """
        with self.server.answer(self.target, headers) as response:
            self._check_status(response)
            self.server.check(response, self.path)
            yield response

    def _check_status(self, response: BaseHTTPResponse) -> None:
        status, wrong = response.status, self.server.wrong
        if 300 <= status < 400:
            error = wrong(f"redirects {self.path} elsewhere (status {status}), which is not followed")
            location = response.headers.get("location")
            raise Redirected(error, location) if location and status in FOLLOWED else AttemptFailed(error)
        if self.is_elsewhere and status in _REFUSED:
            hint = "Are the controller's clock and its rights to the bucket in order?"
            raise Expired(wrong(f"refuses to hand out {self.path} (status {status})", hint))
        if status in _MISSING or status == 403:
            raise NotInStore(wrong(f"has no {self.path} (status {status})"))


def _check_span(server: WebServer, path: str, span: Span, response: BaseHTTPResponse) -> None:
    length = response.headers.get("content-length", str(span.length))
    if response.status == 200 and span.is_whole:
        if length != str(span.total):
            raise AttemptFailed(server.wrong(f"has a {path} of {length[:20]} bytes where {span.total} are due"))
        return
    if response.status == 200:
        raise AttemptFailed(server.wrong(f"ignores Range and sends all of {path}", "Put no cache before it that does."))
    if response.status != 206:
        raise AttemptFailed(odd_status(server, path, response))
    sent = response.headers.get("content-range", "no range")
    if sent != str(span) or length != str(span.length):
        raise AttemptFailed(server.wrong(f"sends {sent[:80]!r} of {path} where '{span}' is due"))


def odd_status(server: WebServer, path: str, response: BaseHTTPResponse) -> ClarionError:
    """Return the error for a status that nobody expects there."""
    return server.wrong(f"answers with status {response.status} when asked for {path}")
