"""What an operator may order of a deployment that is under way, as events; each says why it cannot be if it cannot."""

from __future__ import annotations

from clarion_controller.explain import listed
from clarion_controller.state.events import AnyEvent, Paused, Resumed, StatusChanged
from clarion_controller.state.rollout_state import RolloutState
from clarion_protocol.errors import Blocked
from clarion_protocol.words import DeploymentStatus


def abort(state: RolloutState, actor: str, now: float) -> AnyEvent:
    """Return the end of the deployment: no more leases; hosts that are in change finish.

    Raises:
        Blocked: it is over, or going back already.
    """
    _refuse_over(state, "aborted")
    if state.status is DeploymentStatus.ROLLING_BACK:
        raise Blocked("it is going back already; that is not stopped halfway", hint="Follow it: 'clarion status'.")
    switched = state.count(lambda host: host.has_switched)
    changing = state.names(lambda host: host.is_in_change)
    by = f" by {actor}" if actor else ""
    left = f"; in the middle, and finishing it: {listed(changing)}" if changing else ""
    reason = f"aborted{by} when {switched} of {state.total} hosts had switched{left}"
    return StatusChanged(at=now, status=DeploymentStatus.ABORTED, reason=reason)


def pause(state: RolloutState, actor: str, now: float) -> AnyEvent:
    """Return a pause: no more leases until it is resumed; the deadline's clock stands.

    Raises:
        Blocked: it is not running.
    """
    _refuse_over(state, "paused")
    if state.status is not DeploymentStatus.RUNNING or state.is_halted:
        raise Blocked(f"it is {state.status.value}, so there is nothing to pause", hint="Look: 'clarion status'.")
    return Paused(at=now, actor=actor)


def resume(state: RolloutState, actor: str, now: float) -> AnyEvent:
    """Return the end of a pause.

    Raises:
        Blocked: it is not paused.
    """
    if state.status is not DeploymentStatus.PAUSED:
        raise Blocked(f"it is {state.status.value}, not paused", hint="Look: 'clarion status'.")
    return Resumed(at=now, actor=actor)


def _refuse_over(state: RolloutState, ordered: str) -> None:
    if state.status.is_final:
        document = state.deployment
        raise Blocked(
            f"it is over ({state.status.value}) and cannot be {ordered}",
            hint=f"To go back, run 'clarion rollback {document.app} -e {document.environment}'.",
        )
