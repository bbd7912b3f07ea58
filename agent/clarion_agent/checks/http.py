"""An http check: a URL answers with the right status and the right text.

No proxy, no redirect (it would be another URL's health), at most 64 KiB of the answer, and
one deadline for all of it, however slowly the bytes come.
"""

from __future__ import annotations

import urllib3

from clarion_protocol.app_config import HttpCheck

MAX_BODY = 64 * 1024


def failure(check: HttpCheck, version: str, timeout: float) -> str | None:
    """Return what is wrong with the answer when `version` should run, or None."""
    # One pool for each check: a connection kept alive from the old process would speak for the new one.
    with urllib3.PoolManager(num_pools=1, retries=False) as pool:
        try:
            answer = pool.request(
                "GET",
                check.http,
                timeout=urllib3.Timeout(total=timeout),
                redirect=False,
                preload_content=False,
                headers={"User-Agent": "clarion-agent", "Connection": "close"},
            )
            body = answer.read(MAX_BODY, decode_content=True)
            answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return f"{check.http}: {_plain(error)}"
    return _judge(check, version, answer.status, body)


def _judge(check: HttpCheck, version: str, status: int, body: bytes) -> str | None:
    if status != check.status:
        return f"{check.http}: status {status} where {check.status} is due"
    wanted = check.expected_text(version)
    if wanted is not None and wanted.encode() not in body:
        begin = body[:80].decode("utf-8", "replace")
        return f"{check.http}: the answer does not contain {wanted!r}; it begins with {begin!r}"
    return None


def _plain(error: Exception) -> str:
    """Return urllib3's words without the object that they begin with."""
    return str(error).rpartition(">: ")[2] or type(error).__name__
