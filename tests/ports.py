"""Ports for what a test begins."""

from __future__ import annotations

import socket
from itertools import islice
from random import SystemRandom

# Below those that the kernel gives to whoever connects (32768 on Linux): one of these would be taken in the moment
# between its choice and its use. Not from `random`, whose numbers property tests make the same in every process.
_FIRST, _LAST = 10_000, 32_000
_TRIES = 1000
_random = SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has now."""
    candidates = _random.sample(range(_FIRST, _LAST), _TRIES)
    free = list(islice(filter(_is_free, candidates), count))
    assert len(free) == count, "this machine has no free ports"
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
