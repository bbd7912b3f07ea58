"""Watch a build: pass on what it prints, look at what it uses, and end it, all of it, when that is too much."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.builds.disk_use import DiskUse, has_room
from clarion_controller.builds.limits import Limits
from clarion_controller.builds.output import Output
from clarion_protocol.amounts import Duration, Size
from clarion_protocol.errors import BuildFailed, ClarionError, Interrupted, NoSpace

TICK = 0.25  # seconds between two looks
PER_TICK = 256 * 1024  # bytes; a build that prints more has to wait
PATIENCE = 30.0  # seconds for the kernel to end what was killed


@dataclass
class Watch:
    """What a build is held to while it runs."""

    limits: Limits
    folder: Path
    go_on: Callable[[], bool]

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.limits.timeout
        self._use = DiskUse(self.folder)

    def check(self) -> None:
        """Let the build go on.

        Raises:
            Interrupted: nobody wants it any more.
            BuildFailed: it takes too long, or too much disk.
            NoSpace: the disk is nearly full, whoever filled it.
        """
        if not self.go_on():
            raise Interrupted("the build was called off")
        if time.monotonic() > self._deadline:
            raise BuildFailed(f"the build did not end within {Duration(self.limits.timeout)}", hint=_raise("timeout"))
        if self._use.look() > self.limits.disk:
            raise BuildFailed(f"the build wrote more than {Size(self.limits.disk)}", hint=_raise("disk"))
        if not has_room(self.folder):
            raise NoSpace(f"the disk of {self.folder} is nearly full", hint=f"Run 'df -h {self.folder}'.")


def _raise(name: str) -> str:
    return f"Is that right? Then raise {name} of the repository in fleet.toml."


def follow(process: subprocess.Popen[bytes], first: int, output: Output, watch: Watch) -> int:
    """Return the exit code of `process` once all in its sandbox has ended; `first` describes its first process.

    Raises:
        ClarionError: it was ended before, as `watch` says.
    """
    assert process.stdout is not None  # noqa: S101  # Popen was asked for it
    pipe = process.stdout.fileno()
    try:
        while not _pass_on(pipe, output):
            watch.check()
    except ClarionError:
        end(first)
        while not _pass_on(pipe, output, wait=0.0):  # what it said until then; nobody is left who could say more
            pass
        raise
    finally:
        end(first)
        process.wait(PATIENCE)
        output.end()
    return process.returncode


def end(first: int) -> None:
    """Kill all in a sandbox and wait until nothing of it is left: with its first process, the kernel ends the rest.

    Raises:
        TimeoutError: the kernel does not.
    """
    try:
        signal.pidfd_send_signal(first, signal.SIGKILL)
    except ProcessLookupError:
        return
    with selectors.DefaultSelector() as selector:
        selector.register(first, selectors.EVENT_READ)
        if not selector.select(PATIENCE):
            raise TimeoutError("the kernel does not end a build that was killed")


def _pass_on(pipe: int, output: Output, wait: float = TICK) -> bool:
    """Pass on what is printed within a tick, at most PER_TICK bytes; return whether that was the end of it."""
    until, left = time.monotonic() + wait, PER_TICK
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while left > 0 and selector.select(max(until - time.monotonic(), 0.0)):
            data = os.read(pipe, min(left, 65536))
            if not data:
                return True
            output.take(data)
            left -= len(data)
    time.sleep(max(until - time.monotonic(), 0.0))
    return False
