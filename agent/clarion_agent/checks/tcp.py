"""A tcp check: somebody accepts connections."""

from __future__ import annotations

import socket

from clarion_protocol.app_config import TcpCheck
from clarion_protocol.os_words import os_words


def failure(check: TcpCheck, timeout: float) -> str | None:
    """Return why no connection could be made within `timeout` seconds, or None if one was."""
    host, _, port = check.tcp.rpartition(":")
    try:
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout).close()
    except OSError as error:
        return f"tcp {check.tcp}: {os_words(error)}"
    return None
