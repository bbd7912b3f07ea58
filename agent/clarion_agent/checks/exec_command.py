"""An exec check: a command in the release exits with 0. It runs as nobody, like the package's tests."""

from __future__ import annotations

from pathlib import Path

from clarion_agent.stages.run_tests import Job, Sandbox
from clarion_protocol.app_config import ExecCheck


def failure(check: ExecCheck, release: Path, checker: Sandbox, timeout: float) -> str | None:
    """Return how the command failed within `timeout` seconds, with its last line, or None."""
    outcome = checker.run(Job(release, (tuple(check.exec.argv),), timeout), lambda: None)
    if outcome.failure is None:
        return None
    said = _last_words(outcome.output)
    return f"{check.exec}: {outcome.failure}" + (f": {said}" if said else "")


def _last_words(output: str) -> str:
    """Return the last line that the command itself wrote; the sandbox frames it with lines of its own."""
    lines = [line.strip() for line in output.splitlines() if not line.startswith(("$ ", "exit code "))]
    return next((line[:200] for line in reversed(lines) if line), "")
