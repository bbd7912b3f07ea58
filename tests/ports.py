"""Ports for what a test begins."""

from __future__ import annotations

import socket
from itertools import cycle, islice
from random import SystemRandom

# Below those that the kernel gives to whoever connects (32768 on Linux): one of these would be taken in the moment
# between its choice and its use. In an order of this process's own, which `random` would not give: property tests make
# its numbers the same everywhere. None comes twice before all have come.
_ALL = range(10_000, 32_000)
_ports = cycle(SystemRandom().sample(_ALL, len(_ALL)))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has now."""
    free = list(islice(filter(_is_free, islice(_ports, len(_ALL))), count))
    assert len(free) == count, "this machine has no free ports"
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
