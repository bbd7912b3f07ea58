"""How long a package store is waited for, and two clocks that a socket's own timeout does not replace.

A socket's timeout starts anew with each byte. So a store that sends one byte every nine seconds would be
waited for until the end of days, in its headers as well as in its bodies.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection


@dataclass(frozen=True)
class Patience:
    """How long is waited for what: seconds, bytes per second, numbers of attempts."""

    connect: float = 5.0
    silence: float = 10.0
    window: float = 30.0
    rate: int = 32 * 1024
    deadline: float = 1800.0
    attempts: int = 6
    pause: float = 0.5
    longest_pause: float = 10.0


class Pace:
    """Whether bytes come fast enough, judged once a window, so that a short stall is forgiven."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self._bytes = 0

    def holds(self, received: int) -> bool:
        """Return whether the rate holds with `received` more bytes."""
        self._bytes += received
        elapsed = time.monotonic() - self._since
        if elapsed < self._patience.window:
            return True
        is_fast = self._bytes >= self._patience.rate * elapsed
        self._since, self._bytes = time.monotonic(), 0
        return is_fast


class Watched(HTTPConnection):
    """A connection whose answer must begin in time: a socket's timeout starts anew with each byte that drips."""

    longest: float

    def getresponse(self) -> Any:
        """Return the response once its headers are here."""
        has_hung_up = threading.Event()
        watchdog = threading.Timer(self.longest, _hang_up, [self.sock, has_hung_up])
        watchdog.daemon = True
        watchdog.start()
        try:
            response = super().getresponse()
        finally:
            watchdog.cancel()
        # Headers that end because the watchdog hung up look complete to http.client.
        if has_hung_up.is_set():
            response.close()
            raise ConnectionAbortedError("the headers took too long")
        return response


class WatchedTls(Watched, HTTPSConnection):
    """The same over TLS."""


def _hang_up(sock: socket.socket, has_hung_up: threading.Event) -> None:
    has_hung_up.set()
    # Not sock.shutdown: on a TLS socket that also pulls its state from under the reading thread.
    with suppress(OSError):  # it may have been closed just now
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
