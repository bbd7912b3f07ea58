"""Telling systemd that the agent is ready, alive, or about to end (sd_notify(3)); without systemd, nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping


class Systemd:
    """The service's end of systemd's notification socket."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        # Taken out, or every child would seem to speak for the service, and systemd would log each refusal.
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog_seconds(environment)

    def ready(self, status: str) -> None:
        """Say that the start is over."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def alive(self, status: str) -> None:
        """Say that everything that must run does; due at least every `watchdog` seconds."""
        self._send(f"WATCHDOG=1\nSTATUS={_line(status)}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # "@" stands for the leading zero byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto(message.encode(), address)
            except OSError:
                # systemd restarts a service that has gone silent; there is nobody else to tell.
                return


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return the watchdog's limit, if it is meant for this process."""
    limit, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(limit) / 1_000_000 or None


def _line(text: str) -> str:
    return " ".join(text.split())
