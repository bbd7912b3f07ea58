"""An http check: a URL answers with the right status and the right text.

No proxy, no redirect (it would be another URL's health), at most 64 KiB of the answer. One
deadline holds for all of it: a socket's own timeout begins anew with each byte, so a
service that drips would never be late.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from clarion_protocol.app_config import HttpCheck
from clarion_protocol.os_words import os_words

MAX_BODY = 64 * 1024
_HEADERS = {"User-Agent": "clarion-agent", "Connection": "close", "Accept-Encoding": "identity"}


def failure(check: HttpCheck, version: str, timeout: float) -> str | None:
    """Return what is wrong with the answer when `version` should run, or None."""
    url = urlsplit(check.http)
    connection = _connection_to(url, timeout)
    try:
        connection.connect()
        with _deadline(connection.sock, timeout):
            connection.request("GET", f"{url.path or '/'}{'?' if url.query else ''}{url.query}", headers=_HEADERS)
            answer = connection.getresponse()
            body = answer.read(MAX_BODY)
    except OSError as error:
        return f"{check.http}: {os_words(error)}"
    except http.client.HTTPException as error:
        return f"{check.http}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return _judge(check, version, answer.status, body)


def _connection_to(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout)


@contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection off after `seconds`.

    Raises:
        TimeoutError: it was cut off.
    """
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_late.is_set():
            raise TimeoutError(f"no whole answer within {seconds:g} s")


def _judge(check: HttpCheck, version: str, status: int, body: bytes) -> str | None:
    if status != check.status:
        return f"{check.http}: status {status} where {check.status} is due"
    wanted = check.expected_text(version)
    if wanted is not None and wanted.encode() not in body:
        begin = body[:80].decode("utf-8", "replace")
        return f"{check.http}: the answer does not contain {wanted!r}; it begins with {begin!r}"
    return None
