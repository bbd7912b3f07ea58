"""One request to a package store that may be slow, broken or hostile.

- One scheme, host and port; redirects and proxies from the environment are not followed.
- Bytes arrive as they lie in the store: no content encoding is accepted.
- A span is accepted only with status 206 and exactly its Content-Range (or 200, if it is the
  whole file), so a cache that answers with something else is noticed at its first line.
- Everything ends: connecting, the headers, each read, each window of time (a minimum rate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from clarion_agent.net.patience import Pace, Patience, Watched, WatchedTls
from clarion_protocol.errors import BadConfig, ClarionError, StoreMisbehaved, StoreUnavailable

CHUNK = 256 * 1024
_BROKEN_OFF = "breaks off in the middle"
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "clarion-agent"}


class AttemptFailed(Exception):
    """Why a request brought nothing: what to tell, and whether another attempt may help.

    `is_busy` is a store that says it has too much to do: waiting for it is no failure.
    """

    def __init__(self, error: ClarionError, *, may_pass: bool = False, is_busy: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.may_pass = may_pass
        self.is_busy = is_busy


class NotInStore(AttemptFailed):
    """The store says that it has no such file, or that it does not show it."""


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
    """The store at `base_url`; several threads may use it at once."""

    def __init__(self, base_url: str, patience: Patience) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise BadConfig(f"{base_url[:200]!r} is no address of a package store", hint="Write http://host:port.")
        self.base_url = base_url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._patience = patience
        timeout = urllib3.Timeout(connect=patience.connect, read=patience.silence)
        self._pool = urllib3.connection_from_url(f"{parts.scheme}://{parts.netloc}", timeout=timeout, maxsize=4)
        kind = WatchedTls if parts.scheme == "https" else Watched
        self._pool.ConnectionCls = type(kind.__name__, (kind,), {"longest": patience.window})

    def whole(self, path: str, limit: int) -> Iterator[bytes]:
        """Yield a file whose length is not known beforehand, in chunks, of at most `limit` bytes altogether.

        Raises:
            AttemptFailed: it could not be had.
        """
        with self._response(path, {}) as response:
            if response.status != 200:
                raise AttemptFailed(self._odd_status(path, response.status))
            yield from self._body(response, path, limit)

    def span(self, path: str, span: Span) -> Iterator[bytes]:
        """Yield exactly the bytes of `span`, in chunks.

        Raises:
            AttemptFailed: they could not be had; some may have been yielded.
        """
        range_header = {"Range": f"bytes={span.offset}-{span.offset + span.length - 1}"}
        with self._response(path, range_header) as response:
            self._check_span(path, span, response)
            left = span.length
            for chunk in self._body(response, path, span.length):
                left -= len(chunk)
                yield chunk
            # Without a Content-Length the end of the connection looks like the end of the body.
            if left:
                raise AttemptFailed(self._away(_BROKEN_OFF), may_pass=True)

    @contextmanager
    def _response(self, path: str, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        """Ask for `path`; hand out a response that is at least about it."""
        with self._explained():
            response = self._pool.urlopen(
                "GET",
                self._prefix + quote(path, safe="/+"),
                headers={**HEADERS, **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                self._check_answer(path, response)
                yield response
            except BaseException:
                response.close()
                raise
            response.release_conn()

    def _check_answer(self, path: str, response: BaseHTTPResponse) -> None:
        status = response.status
        if 300 <= status < 400:
            raise AttemptFailed(self._wrong(f"redirects {path} elsewhere (status {status}), which is not followed"))
        if status in (403, 404, 410):
            raise NotInStore(self._wrong(f"has no {path} (status {status})"))
        if status == 429 or status >= 500:
            is_busy = "retry-after" in response.headers
            raise AttemptFailed(self._away(f"answers with status {status}"), may_pass=True, is_busy=is_busy)
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise AttemptFailed(
                self._wrong(f"answers with a web page (HTML) instead of {path}", "Is there a proxy or a login page?")
            )
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise AttemptFailed(self._wrong(f"sends {path} encoded as {encoding[:40]!r}, which nobody asked for"))

    def _check_span(self, path: str, span: Span, response: BaseHTTPResponse) -> None:
        length = response.headers.get("content-length", str(span.length))
        if response.status == 200 and span.is_whole:
            if length != str(span.total):
                raise AttemptFailed(self._wrong(f"has a {path} of {length[:20]} bytes where {span.total} are due"))
            return
        if response.status == 200:
            raise AttemptFailed(
                self._wrong(f"ignores Range and sends all of {path}", "Put no cache before it that does.")
            )
        if response.status != 206:
            raise AttemptFailed(self._odd_status(path, response.status))
        sent = response.headers.get("content-range", "no range")
        if sent != str(span) or length != str(span.length):
            raise AttemptFailed(self._wrong(f"sends {sent[:80]!r} of {path} where '{span}' is due"))

    def _body(self, response: BaseHTTPResponse, path: str, limit: int) -> Iterator[bytes]:
        pace, received = Pace(self._patience), 0
        # read1: a plain read(n) would wait for n bytes however slowly they drip.
        while chunk := response.read1(CHUNK):
            received += len(chunk)
            if received > limit:
                raise AttemptFailed(self._wrong(f"sends more of {path} than the {limit} bytes that are allowed"))
            if not pace.holds(len(chunk)):
                raise AttemptFailed(self._away(f"sends {path} at less than {self._patience.rate // 1024} KiB/s"))
            yield chunk

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what urllib3 raises into what to tell and whether to try again."""
        try:
            yield
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise AttemptFailed(self._away("does not answer"), may_pass=True) from error
        except ReadTimeoutError as error:
            raise AttemptFailed(self._away(f"is silent for {self._patience.silence:.0f} s"), may_pass=True) from error
        except ProtocolError as error:
            if any(isinstance(cause, (OSError, urllib3.exceptions.IncompleteRead)) for cause in (error, *error.args)):
                raise AttemptFailed(self._away(_BROKEN_OFF), may_pass=True) from error
            raise AttemptFailed(self._wrong("does not speak HTTP properly")) from error
        except HTTPError as error:
            raise AttemptFailed(self._wrong(f"cannot be spoken with: {str(error)[:200]}")) from error

    def _away(self, what: str) -> StoreUnavailable:
        hint = f"Run 'curl -I {self.base_url}/metadata/timestamp.json' on this host to see what it says."
        return StoreUnavailable(f"the package store {self.base_url} {what}", hint=hint)

    def _wrong(self, what: str, hint: str | None = None) -> StoreMisbehaved:
        return StoreMisbehaved(f"the package store {self.base_url} {what}", hint=hint)

    def _odd_status(self, path: str, status: int) -> StoreMisbehaved:
        return self._wrong(f"answers with status {status} when asked for {path}")
