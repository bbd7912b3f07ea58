"""One agent for each state folder: a lock that ends with its process, and what the agent says of itself in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clarion_protocol.errors import Blocked

FILE = "run.lock"


@contextmanager
def only_agent(state_dir: Path) -> Iterator[None]:
    """Hold the lock.

    Raises:
        Blocked: another agent holds it.
    """
    descriptor = os.open(state_dir / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Blocked(
            f"an agent runs here already (process {running_agent(state_dir)})",
            hint="Run 'clarion-agent status', or 'systemctl restart clarion-agent' to start it anew.",
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def running_agent(state_dir: Path) -> int | None:
    """Return the process id of the agent that runs here, or None."""
    try:
        with (state_dir / FILE).open("rb") as file:
            return _holder(file.fileno(), file.read(20))
    except FileNotFoundError:
        return None


def _holder(descriptor: int, content: bytes) -> int | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(content) if content.isdigit() else 0
    return None
