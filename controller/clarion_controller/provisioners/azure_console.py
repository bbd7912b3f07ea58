"""What a VM of Azure wrote to its serial port: a blob, at an address that Azure signs for whoever may read it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

MAX_BYTES = 4 * 1024 * 1024
SECONDS = 15.0


def serial_log(diagnostics: Mapping[str, object]) -> str:
    """Return the log that an answer of `retrieveBootDiagnosticsData` points to; "" if it cannot be had."""
    address = str(diagnostics.get("serialConsoleLogBlobUri", ""))
    try:
        with httpx.stream("GET", address, timeout=SECONDS) as answer:
            return _text(answer) if answer.is_success else ""
    except (httpx.HTTPError, httpx.InvalidURL):
        return ""


def _text(answer: httpx.Response) -> str:
    found = b""
    for chunk in answer.iter_bytes():
        found = (found + chunk)[-MAX_BYTES:]
    return found.decode("utf-8", "replace")
