"""Run an app's build and test commands: without a shell, in a group that dies together, within a time limit."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from clarion_protocol.amounts import Duration
from clarion_protocol.app_config import CommandLine
from clarion_protocol.errors import BuildFailed

KEPT_OUTPUT = 16 * 1024
Said = Callable[[bytes], None]

_IN_A_COPY = "It ran without a shell, in a clean copy without what git ignores. See clarion.toml."

# What makes compilers write the same bytes for the same source.
_REPRODUCIBLE = {
    "SOURCE_DATE_EPOCH": "315532800",  # 1980, the earliest date that zip files can say
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
}


def nobody(data: bytes) -> None:
    """Hear what a command prints, and forget it."""


class Surroundings(NamedTuple):
    """What every command of a build is given: variables beyond our own, and who hears at once what it prints."""

    extra: Mapping[str, str]
    said: Said = nobody


def run_commands(commands: Sequence[CommandLine], folder: Path, timeout: Duration, around: Surroundings) -> None:
    """Run `commands` in `folder`, one after the other; all of them share the time limit.

    Raises:
        BuildFailed: one cannot be started, fails, or takes too long; the message ends with its output.
    """
    deadline = time.monotonic() + timeout
    for command in commands:
        _run(command, folder, deadline, around)


def _run(command: CommandLine, folder: Path, deadline: float, around: Surroundings) -> None:
    around.said(f"$ {command}\n".encode())
    try:
        process = subprocess.Popen(
            command.argv,
            cwd=folder,
            env={**os.environ, **_REPRODUCIBLE, **around.extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
        )
    except OSError as error:
        raise BuildFailed(f'"{command}" cannot be started: {error.strerror}', hint=_IN_A_COPY) from error
    with process:
        output = _watch(process, deadline, around.said)
    if output is None:
        raise BuildFailed(f'"{command}" did not end in time', hint="Raise the timeout in clarion.toml.")
    if process.returncode != 0:
        said = f":\n{output}" if output else ", and said nothing"
        raise BuildFailed(f'"{command}" {_ending(process.returncode)}{said}', hint=_IN_A_COPY)


def _watch(process: subprocess.Popen[bytes], deadline: float, said: Said) -> str | None:
    """Return the last of the output once the process has ended, or None if it had to be killed at the deadline."""
    assert process.stdout is not None  # noqa: S101  # Popen was asked for it
    tail = bytearray()
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while process.poll() is None and time.monotonic() < deadline:
            selector.select(timeout=0.1)
            _keep_last(tail, process.stdout.fileno(), said)
    in_time = process.poll() is not None
    # Also what it left behind in the background: nothing of a build outlives it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _keep_last(tail, process.stdout.fileno(), said)
    return tail.decode("utf-8", "replace").strip() if in_time else None


def _keep_last(tail: bytearray, pipe: int, said: Said) -> None:
    """Read at most one pipe's worth, so that endless output cannot hold up the deadline."""
    for _ in range(16):
        try:
            data = os.read(pipe, 65536)
        except BlockingIOError:
            return
        if not data:
            return
        said(data)
        tail += data
        del tail[:-KEPT_OUTPUT]


def _ending(returncode: int) -> str:
    return f"was killed by signal {-returncode}" if returncode < 0 else f"failed with exit code {returncode}"
