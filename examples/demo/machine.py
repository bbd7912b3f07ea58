"""This machine, as the demo uses it: a temporary folder, free ports of loopback, processes that always end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
LONGEST_COMMAND = 120  # seconds


class Surprise(Exception):
    """Something is not as the demo says it would be."""


class Machine:
    """Used with `with`: whatever it started is ended, and the folder removed, however the demo ends."""

    def __init__(self) -> None:
        self._cleanup = ExitStack()

    def __enter__(self) -> Machine:
        # Short, because a Unix socket's path may have no more than 107 bytes.
        self.folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="clarion-demo-")))
        # If root runs the demo, agents run the package's tests as nobody, who has to get in.
        self.folder.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def keep_logs(self, where: Path) -> None:
        """Copy every log out of the folder, before it is removed."""
        where.mkdir(exist_ok=True)
        for log in self.folder.rglob("*.log"):
            shutil.copy(log, where / "-".join(log.relative_to(self.folder).parts))

    def start(self, name: str, *command: str | Path) -> Process:
        """Start a process whose output goes to `<folder>/<name>.log`."""
        process = Process(name, self.folder / f"{name}.log", list(map(str, command)))
        self._cleanup.callback(process.stop)
        return process


class Process:
    """One process that runs until it is stopped."""

    def __init__(self, name: str, log: Path, command: Sequence[str]) -> None:
        self.name, self.log, self._command = name, log, command
        self.start()

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is for the demo, which then ends everything in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """End it and everything that it started; what does not listen is killed."""
        family = [self._process.pid, *(child.pid for child in _children(self._process.pid))]
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in family[1:]:
            _kill(pid)

    def check_alive(self) -> None:
        """Raise a Surprise that quotes the log if the process has ended."""
        if self._process.poll() is not None:
            raise Surprise(f"{self.name} has ended with {self._process.returncode}:\n{tail(self.log)}")


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def run(*command: str | Path, environment: dict[str, str] | None = None) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_COMMAND,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def watch(*command: str | Path, environment: dict[str, str]) -> int:
    """Run a command, show each line as it comes, and return the exit code."""
    with subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"    {line}", end="", flush=True)
        return process.wait(timeout=LONGEST_COMMAND)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_until(what: str, is_so: Callable[[], bool], timeout: float = 60) -> None:
    """Return as soon as something is so.

    Raises:
        Surprise: it is not, for too long.
    """
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise Surprise(f"waited {timeout:.0f} s in vain: {what}")
        time.sleep(0.05)


def tail(log: Path, lines: int = 15) -> str:
    """Return the end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _children(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
