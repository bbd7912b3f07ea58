"""Being nobody for a while, where a test is run by root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Within, root opens only what anybody may; who is not root stays who that is.

    Whatever is imported within has to be loaded before: Python itself may lie where nobody comes.
    """
    was = os.geteuid()
    os.seteuid(NOBODY if was == 0 else was)
    try:
        yield
    finally:
        os.seteuid(was)
