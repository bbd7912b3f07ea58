"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion_agent.net.notify_systemd import Systemd


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        yield server


def test_readiness_life_and_end_are_told(systemd: socket.socket) -> None:
    """Each message has systemd's own words and a status on one line."""
    told = Systemd({"NOTIFY_SOCKET": systemd.getsockname()})
    told.ready("web-1 in\nproduction")
    told.alive("connected")
    told.stopping()
    assert [systemd.recv(1000) for _ in range(3)] == [
        b"READY=1\nSTATUS=web-1 in production",
        b"WATCHDOG=1\nSTATUS=connected",
        b"STOPPING=1",
    ]


def test_an_abstract_socket_is_reached_too() -> None:
    """A leading "@" stands for a zero byte."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0clarion-test-{os.getpid()}")
        server.settimeout(5)
        Systemd({"NOTIFY_SOCKET": f"@clarion-test-{os.getpid()}"}).stopping()
        assert server.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """On a terminal, or with a socket that has gone, the agent just runs."""
    Systemd({}).ready("fine")
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive("fine")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_read_only_if_it_is_meant_for_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    """A child that inherits the environment is not watched."""
    assert Systemd(environment).watchdog == seconds
