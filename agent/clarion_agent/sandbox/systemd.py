"""The full sandbox: a static template unit of systemd, which the agent starts but cannot loosen.

The agent puts `job` and a link `release` into a folder named with a random id and
starts `<template>@<id>.service`; the unit mounts both and writes `output` beside them.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from clarion_agent.printable import printable_tail
from clarion_agent.sandbox.job import write_job
from clarion_agent.stages.run_tests import Job, Outcome
from clarion_protocol.words import new_id

RUN = Path("/run/clarion-agent")
TICK_S = 0.05
QUERY_TIMEOUT_S = 30.0
EXIT_CODES = {
    "signal": "ended by signal {status}",
    "core-dump": "ended by signal {status}",
    "oom-kill": "used too much memory",
    "timeout": "not done within its unit's time limit",
    "exit-code": "exit code {status}",
}


class SystemdSandbox:
    """Runs a job as one instance of a template unit; `folder` is where that unit looks for it."""

    name = "systemd"

    def __init__(self, template: str = "clarion-test", folder: Path = RUN / "tests") -> None:
        self._template = template
        self._folder = folder

    def run(self, job: Job, go_on: Callable[[], None]) -> Outcome:
        """Run `job` to its end or its time limit; what `go_on` raises ends it early."""
        id_ = new_id()
        spot = self._folder / id_
        spot.mkdir(parents=True, mode=0o700)
        try:
            (spot / "release").symlink_to(job.release)
            order = spot / "job"
            order.write_bytes(write_job(job.commands))
            order.chmod(0o644)  # the unit's user is nobody's
            failure = self._start(self._unit(id_), job.timeout, go_on)
            return Outcome(failure, printable_tail(spot / "output"))
        finally:
            self._clear(id_)

    def sweep(self) -> None:
        """End what an agent that was killed has left running."""
        for spot in self._folder.iterdir() if self._folder.is_dir() else ():
            self._clear(spot.name)

    def _start(self, unit: str, timeout: float, go_on: Callable[[], None]) -> str | None:
        with subprocess.Popen(
            ["systemctl", "start", "--", unit],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as starting:
            try:
                code = _wait(starting, timeout, go_on)
            finally:
                starting.kill()
        if code is None:
            return f"not done within {timeout:g} s"
        return None if code == 0 else _why(unit)

    def _clear(self, id_: str) -> None:
        unit = self._unit(id_)
        _ask(["systemctl", "stop", "--", unit])
        _ask(["systemctl", "reset-failed", "--", unit])
        shutil.rmtree(self._folder / id_, ignore_errors=True)

    def _unit(self, id_: str) -> str:
        return f"{self._template}@{id_}.service"


def _wait(process: subprocess.Popen[bytes], timeout: float, go_on: Callable[[], None]) -> int | None:
    """Return the exit code of `process`, or None if it has none after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        go_on()
        try:
            return process.wait(TICK_S)
        except subprocess.TimeoutExpired:
            continue
    return None


def _why(unit: str) -> str:
    shown = _ask(["systemctl", "show", "--property=Result,ExecMainStatus,LoadState", "--", unit])
    values = dict(line.partition("=")[::2] for line in shown.splitlines())
    if values.get("LoadState") != "loaded":
        return f"{unit.partition('@')[0]}@.service is not installed on this host"
    result = values.get("Result", "")
    return EXIT_CODES.get(result, "systemd says {result}").format(result=result, status=values.get("ExecMainStatus"))


def _ask(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, timeout=QUERY_TIMEOUT_S, check=False)
    return done.stdout.decode("utf-8", "replace")
