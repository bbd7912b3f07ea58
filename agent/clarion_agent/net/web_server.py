"""One request to a server that may be slow, broken or hostile.

- One scheme, host and port; redirects and proxies from the environment are not followed.
- Bytes arrive as they lie there: no content encoding is accepted.
- Everything ends: connecting, the headers, each read, each window of time (a minimum rate).
- What is asked for is never printed: its query may be a signed secret.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from clarion_agent.net.patience import Pace, Patience, Watched, WatchedTls
from clarion_protocol.errors import ClarionError, StoreMisbehaved, StoreUnavailable

CHUNK = 256 * 1024
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "clarion-agent"}
BROKEN_OFF = "breaks off in the middle"

# Its debug lines hold whole addresses.
logging.getLogger("urllib3").setLevel(logging.INFO)


class AttemptFailed(Exception):
    """Why a request brought nothing: what to tell, and whether another attempt may help.

    `is_busy` is a store that says it has too much to do: waiting for it is no failure.
    """

    def __init__(self, error: ClarionError, *, may_pass: bool = False, is_busy: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.may_pass = may_pass
        self.is_busy = is_busy


class WebServer:
    """The server at `origin`, called `name` where something is told about it; several threads may use it at once."""

    def __init__(self, origin: str, patience: Patience, name: str, hint: str) -> None:
        self._patience = patience
        self._name = name
        self._hint = hint
        timeout = urllib3.Timeout(connect=patience.connect, read=patience.silence)
        self._pool = urllib3.connection_from_url(origin, timeout=timeout, maxsize=4)
        kind = WatchedTls if origin.startswith("https:") else Watched
        self._pool.ConnectionCls = type(kind.__name__, (kind,), {"longest": patience.window})

    @contextmanager
    def answer(self, target: str, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        """Ask for `target`, a path and perhaps a query; hand out the response, whose body is not read yet.

        Raises:
            AttemptFailed: there was none, or it broke off.
        """
        with self._explained():
            response = self._pool.urlopen(
                "GET",
                target,
                headers={**HEADERS, **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                yield response
            except BaseException:
                response.close()
                raise
            response.release_conn()

    def check(self, response: BaseHTTPResponse, path: str) -> None:
        """Return if the server is not busy, and sends something as it lies there that is no web page.

        Raises:
            AttemptFailed: otherwise.
        """
        if response.status == 429 or response.status >= 500:
            is_busy = "retry-after" in response.headers
            raise AttemptFailed(self.away(f"answers with status {response.status}"), may_pass=True, is_busy=is_busy)
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise AttemptFailed(
                self.wrong(f"answers with a web page (HTML) instead of {path}", "Is there a proxy or a login page?")
            )
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise AttemptFailed(self.wrong(f"sends {path} encoded as {encoding[:40]!r}, which nobody asked for"))

    def body(self, response: BaseHTTPResponse, path: str, limit: int) -> Iterator[bytes]:
        """Yield the body in chunks, of at most `limit` bytes altogether.

        Raises:
            AttemptFailed: it is longer, or comes too slowly.
        """
        pace, received = Pace(self._patience), 0
        # read1: a plain read(n) would wait for n bytes however slowly they drip.
        while chunk := response.read1(CHUNK):
            received += len(chunk)
            if received > limit:
                raise AttemptFailed(self.wrong(f"sends more of {path} than the {limit} bytes that are allowed"))
            if not pace.holds(len(chunk)):
                raise AttemptFailed(self.away(f"sends {path} at less than {self._patience.rate // 1024} KiB/s"))
            yield chunk

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def away(self, what: str) -> StoreUnavailable:
        """Return the error that says what keeps the server from answering."""
        return StoreUnavailable(f"{self._name} {what}", hint=self._hint)

    def wrong(self, what: str, hint: str | None = None) -> StoreMisbehaved:
        """Return the error that says what is wrong with its answer."""
        return StoreMisbehaved(f"{self._name} {what}", hint=hint)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what urllib3 raises into what to tell and whether to try again."""
        try:
            yield
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise AttemptFailed(self.away("does not answer"), may_pass=True) from error
        except ReadTimeoutError as error:
            raise AttemptFailed(self.away(f"is silent for {self._patience.silence:.0f} s"), may_pass=True) from error
        except ProtocolError as error:
            if any(isinstance(cause, (OSError, urllib3.exceptions.IncompleteRead)) for cause in (error, *error.args)):
                raise AttemptFailed(self.away(BROKEN_OFF), may_pass=True) from error
            raise AttemptFailed(self.wrong("does not speak HTTP properly")) from error
        except SSLError as error:
            hint = "Is this host's clock right, and is the package ca-certificates installed?"
            raise AttemptFailed(self.wrong(f"cannot be spoken with: {str(error)[:200]}", hint)) from error
        except HTTPError as error:
            raise AttemptFailed(self.wrong(f"cannot be spoken with: {str(error)[:200]}")) from error
