"""How a list of steps is walked: one after another, and if one fails, back again.

A step that fails is undone, and so are the finished ones, last first. Undoing begins with
the step that failed because it may be half done; so each `undo` can be repeated, and works
whether its `do` happened wholly, partly or not at all. What cannot be undone does not stop
the rest from being undone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from clarion_agent.attempt import Staging, Switch
from clarion_protocol.errors import ClarionError, HostError, NoSpace
from clarion_protocol.words import HostStatus, Stage

Work = TypeVar("Work", Staging, Switch)


@dataclass(frozen=True)
class Step(Generic[Work]):
    """One step: what it is called, what the host reports as it begins, and how it is done and undone."""

    stage: Stage
    status: HostStatus
    do: Callable[[Work], None]
    undo: Callable[[Work], None]


@dataclass(frozen=True)
class Ending:
    """What a walk came to, as it is reported; `error` is a code of `clarion_protocol.errors`."""

    status: HostStatus
    reason: str = ""
    error: str = ""
    log: str = ""


class StepFailed(Exception):
    """A step failed and was undone, as far as `problems` do not say otherwise."""

    def __init__(self, cause: ClarionError, log: str, problems: Sequence[ClarionError]) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.log = log
        self.problems = problems

    def ending(self, undone: HostStatus, now: str) -> Ending:
        """Return how a walk ends that was undone to status `undone`; `now` says what that means for the host."""
        if self.problems:
            left = "; ".join(problem.message for problem in self.problems)
            return Ending(
                HostStatus.FAILED, f"{self.cause.message}; then, going back: {left}", self.cause.code, self.log
            )
        return Ending(undone, f"{self.cause.message}; {now}", self.cause.code, self.log)


def walk(steps: Sequence[Step[Work]], work: Work, undoing: Sequence[Step[Work]] = ()) -> None:
    """Do `steps` in order; if one fails, undo it and all before it (of `undoing`, if that is longer).

    Raises:
        StepFailed: a step failed; all was undone as far as it says.
    """
    reached: Stage | None = None
    try:
        for step in steps:
            reached = step.stage
            work.enter(step.stage, step.status)
            step.do(work)
    except Exception as error:
        cause, log = as_ours(error, reached), work.log
        raise StepFailed(cause, log, undo(undoing or steps, reached, work, because=cause)) from error


def undo(
    steps: Sequence[Step[Work]], reached: Stage | None, work: Work, *, because: ClarionError
) -> list[ClarionError]:
    """Undo the step at `reached` and all before it, last first; return what could not be undone."""
    begun: Sequence[Step[Work]] = steps[: index_of(steps, reached) + 1]
    acts: list[tuple[Stage | None, Callable[[], None]]] = [(None, partial(work.begin_undo, because))]
    acts += [(step.stage, partial(step.undo, work)) for step in reversed(begun)]
    return [problem for stage, act in acts if (problem := _problem_of(act, stage))]


def as_ours(error: Exception, stage: Stage | None) -> ClarionError:
    """Return `error` as one that somebody can do something about."""
    if isinstance(error, ClarionError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"the disk is full: {error}", hint="Run: df -h; df -i")
    where = f"{stage.value}: " if stage else ""
    return HostError(f"{where}{type(error).__name__}: {error}", hint="Run: journalctl -u clarion-agent")


def index_of(steps: Sequence[Step[Work]], stage: Stage | None) -> int:
    """Return where `stage` stands in `steps`; the first if it does not."""
    return next((index for index, step in enumerate(steps) if step.stage is stage), 0)


def _problem_of(act: Callable[[], None], stage: Stage | None) -> ClarionError | None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 (the next undo must run whatever became of this one)
        return as_ours(error, stage)
    return None
