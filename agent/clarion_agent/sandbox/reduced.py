"""A sandbox without systemd: as much as plain processes can do, and reported as `reduced`.

Own session, hard limits, hardly any environment, a home that is removed afterwards, and
the user nobody if the agent is root. It does not hide the file system or the network, and
a child that leaves the session survives; where that matters, there is systemd.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clarion_agent.printable import printable_tail
from clarion_agent.sandbox import job as job_program
from clarion_agent.stages.run_tests import Job, Outcome

NOBODY = 65534
TICK_S = 0.05


class ReducedSandbox:
    """Runs a job in a process group of its own."""

    name = "reduced"

    def run(self, job: Job, go_on: Callable[[], None]) -> Outcome:
        """Run `job` to its end or its time limit; what `go_on` raises ends it early."""
        home = Path(tempfile.mkdtemp(prefix="clarion-test-"))
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            os.chown(home, user, user)
        try:
            failure = _run(job, home, user, go_on)
            return Outcome(failure, printable_tail(home / ".output"))
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def sweep(self) -> None:
        """Nothing stays behind but what a kill left in the folder for temporary files."""


def _run(job: Job, home: Path, user: int | None, go_on: Callable[[], None]) -> str | None:
    order = job_program.write_job(job.commands, job_program.SELF if user is None else str(user))
    with (home / ".output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", job_program.__file__, "-"],  # a third of what -m with its site costs
            cwd=job.release,
            env=_environment(home),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _hand_over(process, order)
            return _wait(process, job.timeout, go_on)
        finally:
            _end(process)


def _hand_over(process: subprocess.Popen[bytes], order: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 (for the type checker: it was asked for)
    process.stdin.write(order)
    process.stdin.close()


def _wait(process: subprocess.Popen[bytes], timeout: float, go_on: Callable[[], None]) -> str | None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        go_on()
        try:
            code = process.wait(TICK_S)
        except subprocess.TimeoutExpired:
            continue
        return f"exit code {code}" if code else None
    return f"not done within {timeout:g} s"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End every process of the job's session, also those that its commands left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
