"""What a new agent does about a switch that the last one did not finish.

- Once `current` has moved, forward is the shorter way; if the release is bad, the check finds out.
- Before that, going on would be a new switch, for which the lease must still hold; else it is undone.
- An undo, or a way back, is done again from its beginning: both may be repeated.
"""

from __future__ import annotations

from clarion_agent import durable
from clarion_agent.app_folder import AppFolder
from clarion_agent.attempt import Host, Switch
from clarion_agent.deploy import go_back, journalled, settle_undone, switch_steps
from clarion_agent.journal import Phase
from clarion_agent.steps import Ending, StepFailed, index_of, undo
from clarion_agent.stopper import Stopper
from clarion_protocol.errors import ClarionError, Interrupted


def recover(folder: AppFolder, host: Host, stopper: Stopper, now: float) -> Ending | None:
    """Finish or undo what was begun on one app (`now` is UTC s); return how that ended, or None if nothing was."""
    intent = folder.journal.read()
    if intent is None or intent.is_done:
        # A debt that no journal knows of: repaid but for the flag, or never written down.
        durable.remove_file(folder.drain_flag)
        return None
    attempt = Switch(intent, folder, host, stopper)
    ending = _take_up(attempt, now)
    attempt.reporter.say(ending.status, reason=ending.reason, error=ending.error, log=ending.log)
    return ending


def _take_up(attempt: Switch, now: float) -> Ending:
    intent = attempt.intent
    if intent.phase is Phase.GOING_BACK:
        return go_back(attempt)
    may_go_on = attempt.folder.current() == intent.to or now < intent.lease_until
    if intent.phase is Phase.UNDOING or not may_go_on:
        return _undo_all(attempt)
    steps = switch_steps(intent)
    return journalled(steps[index_of(steps, intent.stage) :], steps, attempt)


def _undo_all(attempt: Switch) -> Ending:
    """Undo all that the journal says was begun, for the reason that it gives."""
    cause = ClarionError(attempt.intent.reason or "the agent was stopped before the switch, and the lease has run out")
    cause.code = attempt.intent.error or Interrupted.code
    problems = undo(switch_steps(attempt.intent), attempt.intent.stage, attempt, because=cause)
    return settle_undone(attempt, StepFailed(cause, attempt.log, problems))
