"""THE LIST: what happens on a host in a deployment, in order, and how it is taken back.

One rule covers every failure: a step that fails is undone, and so are the finished ones,
last first. Undoing begins with the step that failed because it may be half done; so each
`undo` can be repeated, and works whether its `do` happened wholly, partly or not at all.

The walks:

- `stage` brings the release here. Nothing that runs is touched, so no lease is needed.
- `switch` makes it run. This is the danger zone: each step is journalled before it begins,
  and an agent that is killed in it finishes or undoes it when it is back (`take_up`).
- `go_back` makes an earlier release run: no download, no hook, no test, no wait.
- `confirm` is all that is left to do when the release runs already.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from clarion_agent.attempt import Staging, Switch
from clarion_agent.journal import Intent, Phase
from clarion_agent.stages import activate, bake, check, commit, drain, place, pull, ready, restart, run_tests, verify
from clarion_protocol import words
from clarion_protocol.errors import ClarionError, HostError, Interrupted, NoSpace
from clarion_protocol.words import HostStatus, Stage

Work = TypeVar("Work", Staging, Switch)


@dataclass(frozen=True)
class Step(Generic[Work]):
    """One step: what it is called, what the host reports as it begins, and how it is done and undone."""

    stage: Stage
    status: HostStatus
    do: Callable[[Work], None]
    undo: Callable[[Work], None]


STAGING: tuple[Step[Staging], ...] = (
    # Space is checked before anything is fetched; what is here already is not fetched again.
    Step(Stage.PULL, HostStatus.PULLING, pull.do, pull.undo),
    # After the pull, because that refreshed the metadata: a key or a release may be gone since the order was signed.
    Step(Stage.VERIFY, HostStatus.VERIFYING, verify.do, verify.undo),
    # Aside, synced, then renamed: a release that has a name is whole.
    Step(Stage.UNPACK, HostStatus.VERIFYING, place.do, place.undo),
    # In the sandbox, on the files that will run. A release that fails here is removed again.
    Step(Stage.TEST, HostStatus.TESTING, run_tests.do, run_tests.undo),
)

# Between the two the host is `staged` and waits for its lease, for as long as it takes.

DANGER_ZONE: tuple[Step[Switch], ...] = (
    # The debt is in the journal before the flag is up, and the flag is up before anything restarts.
    Step(Stage.DRAIN, HostStatus.DRAINING, drain.do, drain.undo),
    # One rename. From here on a crash rolls forward.
    Step(Stage.ACTIVATE, HostStatus.ACTIVATING, activate.do, activate.undo),
    # After the swap, or the units would start the old release again.
    Step(Stage.RESTART, HostStatus.ACTIVATING, restart.do, restart.undo),
    Step(Stage.CHECK, HostStatus.CHECKING, check.do, check.undo),
    # Traffic only once healthy, and the bake only under traffic.
    Step(Stage.READY, HostStatus.CHECKING, ready.do, ready.undo),
    Step(Stage.BAKE, HostStatus.BAKING, bake.do, bake.undo),
    # The point of no return: the journal says done.
    Step(Stage.COMMIT, HostStatus.BAKING, commit.do, commit.undo),
)

# Going back waits for nothing: it skips what only makes a new release safer.
ROLLBACK: tuple[Step[Switch], ...] = tuple(step for step in DANGER_ZONE if step.stage not in (Stage.DRAIN, Stage.BAKE))


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


def stage(staging: Staging) -> Ending:
    """Bring the release to this host and test it; if that fails, nothing is left of the attempt."""
    steps = STAGING
    if staging.folder.has(staging.deployment.ref):
        steps = steps[-1:]  # unpacked and verified by an earlier attempt: only the tests
    if staging.deployment.intent is words.Intent.ROLLBACK:
        steps = tuple(step for step in steps if step.stage is not Stage.TEST)
    try:
        walk(steps, staging)
    except StepFailed as failure:
        was_told = isinstance(failure.cause, Interrupted)
        return failure.ending(HostStatus.SKIPPED if was_told else HostStatus.FAILED, "nothing was changed")
    return Ending(HostStatus.STAGED)


def switch(attempt: Switch) -> Ending:
    """Make the staged release run; if that fails, what ran before runs again."""
    return _walk_journalled(_steps_of(attempt.intent), attempt)


def take_up(attempt: Switch, now: float) -> Ending:
    """Go on where the journal says that an agent was killed; `now` is UTC s.

    Once `current` has moved, forward is the shorter way, and if the release is bad the check
    finds out. Before that, going on would be a new switch, for which the lease must still hold.
    """
    intent = attempt.intent
    if intent.phase is Phase.GOING_BACK:
        return go_back(attempt)
    may_go_on = attempt.folder.current() == intent.to or now < intent.lease_until
    if intent.phase is Phase.UNDOING or not may_go_on:
        return finish_undo(attempt)
    steps = _steps_of(intent)
    return _walk_journalled(steps[_index(steps, intent.stage) :], attempt)


def finish_undo(attempt: Switch) -> Ending:
    """Undo all that the journal says was begun, for the reason that it gives."""
    cause = ClarionError(attempt.intent.reason or "the agent was stopped before the switch")
    cause.code = attempt.intent.error or Interrupted.code
    problems = undo(_steps_of(attempt.intent), attempt.intent.stage, attempt, because=cause)
    return _end(attempt, StepFailed(cause, attempt.log, problems))


def go_back(attempt: Switch) -> Ending:
    """Make an earlier release run, now. It is itself an undo, so it is not undone, only tried and reported."""
    attempt.stopper.ignore_interrupts()
    try:
        attempt.note(phase=Phase.GOING_BACK, went_back=True)
        for step in ROLLBACK[:-1]:
            attempt.enter(step.stage, step.status)
            step.do(attempt)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is reported)
        cause = as_ours(error, attempt.intent.stage)
        ending = Ending(
            HostStatus.FAILED, f"going back to {attempt.intent.to}: {cause.message}", cause.code, attempt.log
        )
    else:
        ending = Ending(HostStatus.ROLLED_BACK, f"back on {attempt.intent.to}")
    attempt.settle(ending.status, ending.reason, ending.error)
    return ending


def confirm(attempt: Switch) -> Ending:
    """Check a release that runs already: no restart, no switch, and so nothing to undo."""
    attempt.reporter.say(HostStatus.CHECKING, Stage.CHECK)
    try:
        check.do(attempt)
        commit.do(attempt)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is reported)
        cause = as_ours(error, Stage.CHECK)
        attempt.settle(HostStatus.FAILED, cause.message, cause.code)
        return Ending(HostStatus.FAILED, f"already on it, but {cause.message}", cause.code, attempt.log)
    return Ending(HostStatus.COMMITTED, "already on it")


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
    begun: Sequence[Step[Work]] = steps[: _index(steps, reached) + 1]
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


def _problem_of(act: Callable[[], None], stage: Stage | None) -> ClarionError | None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 (the next undo must run whatever became of this one)
        return as_ours(error, stage)
    return None


def _walk_journalled(steps: Sequence[Step[Switch]], attempt: Switch) -> Ending:
    try:
        walk(steps, attempt, undoing=_steps_of(attempt.intent))
    except StepFailed as failure:
        return _end(attempt, failure)
    return Ending(HostStatus.COMMITTED)


def _end(attempt: Switch, failure: StepFailed) -> Ending:
    ending = failure.ending(HostStatus.ROLLED_BACK, f"back on {attempt.intent.before or 'nothing'}")
    attempt.settle(ending.status, ending.reason, ending.error)
    return ending


def _steps_of(intent: Intent) -> tuple[Step[Switch], ...]:
    return ROLLBACK if intent.is_rollback else DANGER_ZONE


def _index(steps: Sequence[Step[Work]], stage: Stage | None) -> int:
    """Return where `stage` stands in `steps`; the first if it does not."""
    return next((index for index, step in enumerate(steps) if step.stage is stage), 0)
