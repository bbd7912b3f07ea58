"""A connection to an SMTP server that ends, whatever the server does.

smtplib's time limit is for each read: a server that sends a byte now and then would keep it waiting for ever. So a
timer cuts the connection from outside, below any TLS, through a second descriptor of the same socket.
"""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE = 40.0  # seconds for all of a conversation
STALL = 15.0  # seconds for one word of it


class TookTooLong(Exception):
    """The conversation was not over in time."""


class SmtpOnLine(smtplib.SMTP):
    """smtplib, on a connection that is there already."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._line = sock
        super().__init__(host)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._line


@contextmanager
def line_to(host: str, port: int, patience: float) -> Iterator[socket.socket]:
    """Yield a connection that is cut after `patience` seconds.

    Raises:
        TookTooLong: it was.
        OSError: there is none.
    """
    is_over = threading.Event()
    until = time.monotonic() + patience
    with socket.create_connection((host, port), min(STALL, patience)) as sock, sock.dup() as same:
        timer = threading.Timer(until - time.monotonic(), _cut, (same, is_over))
        timer.daemon = True
        timer.start()
        try:
            yield sock
        except Exception as error:
            if is_over.is_set():
                raise TookTooLong from error
            raise
        finally:
            timer.cancel()


def _cut(sock: socket.socket, is_over: threading.Event) -> None:
    is_over.set()
    with suppress(OSError):  # the other side was faster
        sock.shutdown(socket.SHUT_RDWR)
