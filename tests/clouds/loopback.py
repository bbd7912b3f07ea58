"""Doubles that are programs of their own: a port that is free, and waiting until somebody listens there."""

from __future__ import annotations

import subprocess
import time

import urllib3


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Wait until `server` answers at `url`, whatever it answers."""
    until = time.monotonic() + seconds
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{server.args!r} does not answer")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=2, retries=False).status > 0
    except urllib3.exceptions.HTTPError:
        return False
