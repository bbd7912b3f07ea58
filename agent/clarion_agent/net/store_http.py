"""A package store, and a package file in it that may lie elsewhere.

- A redirect is followed once, and only for packages. Where it leads is remembered while the file is
  open, so hundreds of spans cost one question; if it is refused there, the store is asked once more.
- Whoever answers is not believed: the core checks every byte against signed hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from clarion_agent.net.patience import Patience
from clarion_agent.net.place import Expired, Place, Redirected, Span, odd_status
from clarion_agent.net.redirect import Elsewhere, NotFollowed, judge
from clarion_agent.net.web_server import AttemptFailed, WebServer
from clarion_agent.origin import origin_of
from clarion_protocol.errors import BadConfig


class StoreHttp:
    """The store at `base_url`, which may redirect to `origins`; several threads may use it at once.

    `named_by` is the setting that named it, for whoever reads of trouble with it; empty if the controller did.
    """

    def __init__(self, base_url: str, patience: Patience, origins: Collection[str] = (), named_by: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        origin = _origin(base_url)
        self.origins = origins
        self.patience = patience
        self._prefix = urlsplit(base_url).path.rstrip("/")
        hint = f"Run 'curl -I {self.base_url}/metadata/timestamp.json' on this host to see what it says."
        self.name = f"the package store {self.base_url}" + (f" ({named_by})" if named_by else "")
        self.server = WebServer(origin, patience, self.name, hint)

    def whole(self, path: str, limit: int) -> Iterator[bytes]:
        """Yield a file whose length is not known beforehand, in chunks, of at most `limit` bytes altogether.

        Raises:
            AttemptFailed: it could not be had; also if the store redirects.
        """
        with self.place(path).answer({}) as response:
            if response.status != 200:
                raise AttemptFailed(odd_status(self.server, path, response))
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
        name = f"{elsewhere.origin}, to which {self._store.name} redirects,"
        hint = (
            f'Can this host reach {elsewhere.origin}? If it never can, set deliver = "proxy" in fleet.toml\'s [store].'
        )
        return WebServer(elsewhere.origin, self._store.patience, name, hint)


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
