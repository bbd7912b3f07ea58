"""Errors of the operating system in its own words."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

import pytest

from clarion_protocol.os_words import os_words

ERRORS = {
    "the system's": (OSError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
    "asyncio's, which repeats the address": (
        OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.7', 443)"),
        "Connection refused",
    ),
    "with a file": (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "No such file or directory"),
    "a name nobody has": (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
    "TLS, whose 1 is not EPERM": (
        ssl.SSLError(1, "[SSL] certificate verify failed"),
        "[SSL] certificate verify failed",
    ),
    "a time limit without number": (TimeoutError("timed out"), "timed out"),
    "a library's, of a known kind": (http.client.RemoteDisconnected("it hung up"), "it hung up"),
    "nothing at all": (OSError(), "OSError"),
    "a number that no system has": (OSError(99_999, "what is this"), "what is this"),
}


@pytest.mark.parametrize(("error", "words"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_said_in_words(error: OSError, words: str) -> None:
    """People read no numbers, and nobody's addresses twice."""
    assert os_words(error) == words
