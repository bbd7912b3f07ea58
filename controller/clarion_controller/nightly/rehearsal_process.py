"""The rehearsal's controller as a child of the night: started, waited for, ended."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clarion_controller.nightly.rehearsal_cluster import Rehearsal
from clarion_protocol.errors import ControllerUnreachable

STARTS_WITHIN = 60.0
ENDS_WITHIN = 15.0
LOOK_EVERY = 0.1
_QUOTED = 2000

Start = Callable[..., "subprocess.Popen[bytes]"]


@contextmanager
def serving(rehearsal: Rehearsal, start: Start) -> Iterator[None]:
    """Have the rehearsal's controller serve; `start` starts a program where fresh servers reach it.

    Raises:
        ControllerUnreachable: it does not start, or has ended meanwhile; the message ends with what it said.
    """
    log = rehearsal.home / "serve.log"
    program = [sys.executable, "-m", "clarion_controller.nightly.rehearsal_serve", str(rehearsal.home)]
    with log.open("wb") as out:
        process = start(program, stdin=subprocess.PIPE, stdout=out, stderr=out, cwd="/", start_new_session=True)
    try:
        _wait(process, rehearsal.api, log)
        with _explained(process, log):
            yield
    finally:
        _end(process)


@contextmanager
def _explained(process: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    try:
        yield
    except ControllerUnreachable as error:
        if process.poll() is None:
            raise
        raise ControllerUnreachable(f"the rehearsal's controller has ended: {_end_of(log)}") from error


def _wait(process: subprocess.Popen[bytes], api: Path, log: Path) -> None:
    gives_up = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < gives_up:
        if _listens(api):
            return
        time.sleep(LOOK_EVERY)
    raise ControllerUnreachable(f"the rehearsal's controller does not start: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_QUOTED:].strip() or "it said nothing"


def _listens(api: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(api)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input, which ends it wherever it runs; what does not listen is killed."""
    assert process.stdin is not None  # noqa: S101 (for the type checker: it was asked for)
    process.stdin.close()
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
