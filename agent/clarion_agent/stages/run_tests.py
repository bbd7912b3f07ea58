"""Run tests: the package's own tests, on this host, shut in, before anything switches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clarion_agent.attempt import Staging
from clarion_protocol.errors import TestsFailed


@dataclass(frozen=True)
class Job:
    """Command lines to run one after another in a release that they cannot change; `timeout` in seconds, for all."""

    release: Path
    commands: tuple[tuple[str, ...], ...]
    timeout: float


@dataclass(frozen=True)
class Outcome:
    """How a job ended: None if every command exited with 0, else why not; and the end of what it printed."""

    failure: str | None
    output: str


class Sandbox(Protocol):
    """Runs a job as nobody, without network and within limits, as far as this host can."""

    name: str

    def run(self, job: Job, go_on: Callable[[], None]) -> Outcome:
        """Run `job` to its end or its time limit; what `go_on`, asked again and again, raises ends it early."""

    def sweep(self) -> None:
        """End what an agent that was killed has left behind."""


def do(staging: Staging) -> None:
    """Run the `[test] package` commands of clarion.toml.

    Raises:
        TestsFailed: one of them did not exit with 0, or they took too long.
    """
    tests = staging.folder.config_of(staging.release).test
    if not tests.package:
        return
    commands = tuple(tuple(line.argv) for line in tests.package)
    release = staging.folder.release_folder(staging.release)
    outcome = staging.host.sandbox.run(Job(release, commands, tests.timeout), staging.stopper.check)
    staging.log = outcome.output
    if outcome.failure:
        raise TestsFailed(
            f"the tests of {staging.deployment.app} {staging.deployment.version} failed here: {outcome.failure}",
            hint=f"Run 'clarion logs {staging.deployment.id}' to see what they printed.",
        )


def undo(staging: Staging) -> None:
    """Nothing to undo: tests run where they cannot leave anything."""
