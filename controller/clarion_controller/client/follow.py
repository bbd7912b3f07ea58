"""Watching a deployment until it is over; a controller that restarts meanwhile is waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from clarion_controller.api.answers import DeploymentAnswer
from clarion_controller.texts import short
from clarion_protocol.errors import ControllerUnreachable, WaitTimedOut

LONGEST_CALL = 20.0  # seconds for which the controller may hold one call
RETRY = 1.0
PATIENCE = 120.0  # seconds for a controller that is being restarted


class Deployments(Protocol):
    """Where a deployment's newest state comes from."""

    def deployment(self, id_: str, *, revision: int | None = None, wait: float = 0.0) -> DeploymentAnswer:
        """Return the deployment once it is beyond `revision`, or after `wait` seconds."""


def follow(source: Deployments, first: DeploymentAnswer, timeout: float) -> Iterator[DeploymentAnswer]:
    """Yield `first`, then each newer state, the last one final.

    Raises:
        WaitTimedOut: `timeout` seconds were not enough; the rollout goes on.
        ControllerUnreachable: the controller did not come back.
    """
    ends = time.monotonic() + timeout
    answer = first
    yield answer
    while not answer.status.is_final:
        left = ends - time.monotonic()
        if left <= 0:
            raise _timed_out(answer, timeout)
        time.sleep(pace(len(answer.hosts)))
        newer = _next(source, answer, min(left, LONGEST_CALL))
        if newer.revision != answer.revision:
            yield newer
        answer = newer


def pace(hosts: int) -> float:
    """Return how long (s) to rest between two looks: a fleet changes all the time, and each look costs its size."""
    return min(max(hosts / 5000, 0.02), 1.0)


def _next(source: Deployments, known: DeploymentAnswer, wait: float) -> DeploymentAnswer:
    gives_up = time.monotonic() + PATIENCE
    while True:
        try:
            return source.deployment(known.id, revision=known.revision, wait=wait)
        except ControllerUnreachable:  # noqa: PERF203 (this loop waits anyway)
            if time.monotonic() > gives_up:
                raise
            time.sleep(RETRY)


def _timed_out(answer: DeploymentAnswer, timeout: float) -> WaitTimedOut:
    return WaitTimedOut(
        f"not over after {timeout:.0f} s, and still going on: {answer.status.value}, {answer.reason}",
        hint=how_to_go_on(answer),
    )


def how_to_go_on(deployment: DeploymentAnswer) -> str:
    """Return how to watch or stop a rollout that goes on without the one who started it."""
    watch = f"clarion status {deployment.app} -e {deployment.environment} --watch"
    return f"Watch it:  {watch}\nStop it:   clarion abort {short(deployment.id)}"
