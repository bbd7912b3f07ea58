"""Sockets of this process in the networks of the lab's servers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


def inside(network: Path, make: Callable[[], T]) -> T:
    """Return what `make` makes in a thread that has moved into a network namespace; sockets stay where they are made.

    Raises:
        OSError: there is no such namespace.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_moved, network, make).result()


def _moved(network: Path, make: Callable[[], T]) -> T:
    descriptor = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # os.setns comes with Python 3.12
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot move into {network}")
    finally:
        os.close(descriptor)
    return make()
