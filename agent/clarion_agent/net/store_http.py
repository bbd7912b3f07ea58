"""A package store, and a package file in it that may lie elsewhere.

- A span is accepted only with status 206 and exactly its Content-Range (or 200, if it is the
  whole file), so a cache that answers with something else is noticed at its first line.
- A redirect is followed once, and only for packages. Where it leads is remembered while the file is
  open, so hundreds of spans cost one question; if it is refused there, the store is asked once more.
- Whoever answers is not believed: the core checks every byte against signed hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from urllib3.response import BaseHTTPResponse

from clarion_agent.net.patience import Patience
from clarion_agent.net.redirect import FOLLOWED, Elsewhere, NotFollowed, judge
from clarion_agent.net.web_server import BROKEN_OFF, AttemptFailed, WebServer
from clarion_agent.origin import origin_of
from clarion_protocol.errors import BadConfig, ClarionError

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


class StoreHttp:
    """The store at `base_url`, which may redirect to `origins`; several threads may use it at once."""

    def __init__(self, base_url: str, patience: Patience, origins: Collection[str] = ()) -> None:
        self.base_url = base_url.rstrip("/")
        origin = _origin(base_url)
        self.origins = origins
        self.patience = patience
        self._prefix = urlsplit(base_url).path.rstrip("/")
        hint = f"Run 'curl -I {self.base_url}/metadata/timestamp.json' on this host to see what it says."
        self.server = WebServer(origin, patience, f"the package store {self.base_url}", hint)

    def whole(self, path: str, limit: int) -> Iterator[bytes]:
        """Yield a file whose length is not known beforehand, in chunks, of at most `limit` bytes altogether.

        Raises:
            AttemptFailed: it could not be had; also if the store redirects.
        """
        with self.place(path).answer({}) as response:
            if response.status != 200:
                raise AttemptFailed(_odd_status(self.server, path, response))
            yield from self.server.body(response, path, limit)

    @contextmanager
    def file(self, path: str) -> Iterator[PackageFile]:
        """Hand out a package's file, of which spans can be read."""
        file = PackageFile(self, path)
        try:
            yield file
        finally:
            file.forget()

    def place(self, path: str) -> Place:
        """Return where the store itself has a file."""
        return Place(self.server, path, self._prefix + quote(path, safe="/+"))


class PackageFile:
    """One file of a store. Not for several threads."""

    def __init__(self, store: StoreHttp, path: str) -> None:
        self._store = store
        self._path = path
        self._moved: Place | None = None

    def span(self, span: Span) -> Iterator[bytes]:
        """Yield exactly the bytes of `span`, in chunks, from wherever the store says.

        Raises:
            AttemptFailed: they could not be had; some may have been yielded.
        """
        try:
            yield from self._span(span, {})
        except Expired:
            self.forget()
            # So that whoever signs addresses ahead signs a new one.
            yield from self._span(span, {"Cache-Control": "no-cache"})

    def forget(self) -> None:
        """Let go of where the file has moved to."""
        if self._moved:
            self._moved.server.close()
            self._moved = None

    def _span(self, span: Span, headers: Mapping[str, str]) -> Iterator[bytes]:
        if self._moved is None:
            try:
                yield from self._store.place(self._path).span(span, headers)
            except Redirected as redirected:
                self._moved = self._follow(redirected.location)
            else:
                return
        yield from self._moved.span(span, {})

    def _follow(self, location: str) -> Place:
        server = self._store.server
        try:
            elsewhere = judge(location, self._store.origins)
        except NotFollowed as refused:
            raise AttemptFailed(server.wrong(f"redirects {self._path} {refused.why}", refused.hint)) from None
        return Place(self._server_at(elsewhere), self._path, elsewhere.target, is_elsewhere=True)

    def _server_at(self, elsewhere: Elsewhere) -> WebServer:
        name = f"{elsewhere.origin}, to which the package store {self._store.base_url} redirects,"
        hint = (
            f'Can this host reach {elsewhere.origin}? If it never can, set deliver = "proxy" in fleet.toml\'s [store].'
        )
        return WebServer(elsewhere.origin, self._store.patience, name, hint)


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


def _origin(base_url: str) -> str:
    parts = urlsplit(base_url)
    shown = parts.hostname or base_url[:200]
    if parts.query or parts.fragment:
        raise _no_store(shown, "it ends before ? and #")
    try:
        return origin_of(base_url)
    except ValueError as error:
        raise _no_store(shown, str(error)) from None


def _no_store(shown: str, why: str) -> BadConfig:
    return BadConfig(f"{shown!r} is no address of a package store: {why}", hint="Write http://host:port.")


def _check_span(server: WebServer, path: str, span: Span, response: BaseHTTPResponse) -> None:
    length = response.headers.get("content-length", str(span.length))
    if response.status == 200 and span.is_whole:
        if length != str(span.total):
            raise AttemptFailed(server.wrong(f"has a {path} of {length[:20]} bytes where {span.total} are due"))
        return
    if response.status == 200:
        raise AttemptFailed(server.wrong(f"ignores Range and sends all of {path}", "Put no cache before it that does."))
    if response.status != 206:
        raise AttemptFailed(_odd_status(server, path, response))
    sent = response.headers.get("content-range", "no range")
    if sent != str(span) or length != str(span.length):
        raise AttemptFailed(server.wrong(f"sends {sent[:80]!r} of {path} where '{span}' is due"))


def _odd_status(server: WebServer, path: str, response: BaseHTTPResponse) -> ClarionError:
    return server.wrong(f"answers with status {response.status} when asked for {path}")
