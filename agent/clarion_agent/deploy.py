"""THE LIST: what happens on a host in a deployment, in order, and how it is taken back.

One rule covers every failure: a step that fails is undone, and so are the finished ones,
last first (`clarion_agent.steps`). The walks:

- `stage` brings the release here. Nothing that runs is touched, so no lease is needed.
- `switch` makes it run. This is the danger zone: each step is journalled before it begins,
  and an agent that is killed in it finishes or undoes it when it is back (`clarion_agent.resume`).
- `go_back` makes an earlier release run: no download, no hook, no test, no wait.
- `confirm` is all that is left to do when the release runs already.
"""

from __future__ import annotations

from clarion_agent.attempt import Staging, Switch
from clarion_agent.journal import Intent, Phase
from clarion_agent.stages import activate, bake, check, commit, drain, place, pull, ready, restart, run_tests, verify
from clarion_agent.steps import Ending, Step, StepFailed, as_ours, walk
from clarion_protocol import words
from clarion_protocol.errors import Interrupted
from clarion_protocol.words import HostStatus, Stage

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

# A release that was unpacked by an earlier deployment: metadata that has expired refuses it all the same.
STAGING_AGAIN: tuple[Step[Staging], ...] = (
    Step(Stage.VERIFY, HostStatus.VERIFYING, verify.refresh_and_do, verify.undo),
    STAGING[-1],
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


def stage(staging: Staging) -> Ending:
    """Bring the release to this host and test it; if that fails, nothing is left of the attempt."""
    try:
        walk(staging_steps(staging), staging)
    except StepFailed as failure:
        was_told = isinstance(failure.cause, Interrupted)
        return failure.ending(HostStatus.SKIPPED if was_told else HostStatus.FAILED, "nothing was changed")
    return Ending(HostStatus.STAGED)


def staging_steps(staging: Staging) -> tuple[Step[Staging], ...]:
    """Return which steps of staging this order needs: what is unpacked here is neither fetched nor unpacked again."""
    is_here = staging.folder.has(staging.deployment.ref)
    if staging.deployment.intent is words.Intent.ROLLBACK:
        # It ran before. Its tests, or a store that is away, must not keep a host from going back to it.
        return () if is_here else STAGING[:-1]
    return STAGING_AGAIN if is_here else STAGING


def refusal(staging: Staging) -> Ending | None:
    """Return how a staged deployment ends that may not be switched to any more, or None if it may.

    A way back is never refused: what it needs was verified when it was unpacked and when it was ordered.
    """
    if staging.deployment.intent is words.Intent.ROLLBACK:
        return None
    try:
        verify.before_switch(staging)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is reported)
        cause = as_ours(error, Stage.VERIFY)
        return Ending(HostStatus.FAILED, f"{cause.message}; nothing was changed", cause.code)
    return None


def switch(attempt: Switch) -> Ending:
    """Make the staged release run; if that fails, what ran before runs again."""
    steps = switch_steps(attempt.intent)
    return journalled(steps, steps, attempt)


def switch_steps(intent: Intent) -> tuple[Step[Switch], ...]:
    """Return which steps a switch consists of."""
    return ROLLBACK if intent.is_rollback else DANGER_ZONE


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
        status = HostStatus.SKIPPED if isinstance(cause, Interrupted) else HostStatus.FAILED
        attempt.settle(status, cause.message, cause.code)
        return Ending(status, f"already on it, but {cause.message}", cause.code, attempt.log)
    return Ending(HostStatus.COMMITTED, "already on it")


def journalled(steps: tuple[Step[Switch], ...], undoing: tuple[Step[Switch], ...], attempt: Switch) -> Ending:
    """Walk `steps` of a switch, undoing all of `undoing` if one fails, and write down what it came to."""
    try:
        walk(steps, attempt, undoing=undoing)
    except StepFailed as failure:
        return settle_undone(attempt, failure)
    return Ending(HostStatus.COMMITTED)


def settle_undone(attempt: Switch, failure: StepFailed) -> Ending:
    """Write down that a switch failed and was undone, and return how that is reported."""
    ending = failure.ending(HostStatus.ROLLED_BACK, f"back on {attempt.intent.before or 'nothing'}")
    attempt.settle(ending.status, ending.reason, ending.error)
    return ending
