"""One question to the metadata service of a cloud, which listens on every server at one address.

- Plain HTTP to that address and to no other: no proxy, no redirect.
- Everything ends: connecting after a second, the whole exchange after three, an answer after 1 KiB.
- An answer that was cut is no answer: the number of another server may begin like this one's.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

SERVICE = ("169.254.169.254", 80)
CONNECT_S = 1.0
WHOLE_S = 3.0
MAX_BODY = 1024


@dataclass(frozen=True)
class Question:
    """What is asked."""

    path: str
    headers: Mapping[str, str]
    method: str = "GET"


@dataclass(frozen=True)
class Answer:
    """What was answered, whole; the names of headers are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Ask = Callable[[Question], Answer]
"""Asks the metadata service; raises OSError if it does not answer, or with something that is no answer."""


def ask_metadata_service(question: Question) -> Answer:
    """Return the answer to `question`.

    Raises:
        OSError: nobody answers in time, or with something that is no whole answer.
    """
    connection = http.client.HTTPConnection(*SERVICE, timeout=CONNECT_S)
    try:
        connection.connect()
        with _ending(connection.sock):
            connection.request(question.method, question.path, headers=dict(question.headers))
            return _read(connection.getresponse())
    except http.client.HTTPException as error:
        raise ConnectionError(f"it does not speak HTTP properly ({type(error).__name__})") from error
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse) -> Answer:
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise ConnectionError(f"it sends more than {MAX_BODY} bytes")
    # Where nobody said how long it is, its end is where the connection ended.
    is_bounded = response.chunked or response.getheader("content-length")
    if response.length or not is_bounded:
        raise ConnectionError("its answer breaks off")
    return Answer(response.status, body, {name.lower(): value for name, value in response.getheaders()})


@contextmanager
def _ending(sock: socket.socket) -> Iterator[None]:
    """Hang up when the time is over: a socket's own timeout starts anew with each byte that drips.

    Raises:
        TimeoutError: it was over.
    """
    sock.settimeout(WHOLE_S)
    is_over = threading.Event()
    watchdog = threading.Timer(WHOLE_S, _hang_up, [sock, is_over])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        if is_over.is_set():
            # Also where something looks whole: headers that end because of the watchdog do.
            raise TimeoutError(f"no whole answer within {WHOLE_S:.0f} s")


def _hang_up(sock: socket.socket, is_over: threading.Event) -> None:
    is_over.set()
    with suppress(OSError):  # it may have been closed just now
        sock.shutdown(socket.SHUT_RDWR)
