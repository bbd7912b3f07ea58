"""Ports for what a test begins."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

# Below those that the kernel gives to whoever connects (32768 on Linux): one of these would be taken in the moment
# between its choice and its use. For the same reason each process has a row of them to itself.
_ALL = range(10_000, 32_000)
_OF_A_PROCESS = 400


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now, and that no other process is given here."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has now; none comes twice before all of this process have come."""
    free = list(islice(filter(_is_free, islice(_own(), _OF_A_PROCESS)), count))
    assert len(free) == count, "this process has no free ports left"
    return free


def free_neighbours(count: int) -> int:
    """Return the first of so many ports in a row that nobody has now."""
    while True:
        ports = free_ports(count)
        if ports == list(range(ports[0], ports[0] + count)):
            return ports[0]


@cache
def _own() -> Iterator[int]:
    """Take a row for as long as this process lives: its first port, bound and never closed, says that it is taken."""
    for first in _ALL[::_OF_A_PROCESS]:
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", first))
        except OSError:
            holder.close()
        else:
            holder.detach()
            return cycle(range(first + 1, first + _OF_A_PROCESS))
    raise AssertionError("every row of ports is taken on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
