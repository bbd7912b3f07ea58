"""An exec check: a command in the release exits with 0. It runs as nobody, like the package's tests."""

from __future__ import annotations

from pathlib import Path

from clarion_agent.stages.run_tests import Job, Sandbox
from clarion_protocol.app_config import ExecCheck


def failure(check: ExecCheck, release: Path, checker: Sandbox, timeout: float) -> str | None:
    """Return how the command failed within `timeout` seconds, with the end of what it said, or None."""
    outcome = checker.run(Job(release, (tuple(check.exec.argv),), timeout), lambda: None)
    if outcome.failure is None:
        return None
    said = outcome.output.strip()[-200:]
    return f"{check.exec}: {outcome.failure}" + (f": {said}" if said else "")
