"""Short sentences about a deployment: every wait and every end says why, in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clarion_controller.state.rivals import Rivals
from clarion_controller.state.rollout_state import RolloutState
from clarion_protocol.words import DeploymentStatus, HostStatus

# Hosts refuse what is more than 60 s off; the heartbeat that tells their time may be 30 s old when it is read.
CLOCKS_APART = 90.0

_NAMED = 3


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    if len(names) <= _NAMED:
        return ", ".join(names) or "nobody"
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


def in_words(seconds: float) -> str:
    """Return a length of time rounded to what a person cares for."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def wrong_clock(off: float) -> str:
    """Return what to do about a clock that is `off` seconds ahead; nothing if signed messages are in time for it."""
    if abs(off) <= CLOCKS_APART:
        return ""
    return f"its clock is {in_words(abs(off))} {'ahead' if off > 0 else 'behind'}; run 'timedatectl' there"


def rivalry(rivals: Rivals) -> Iterator[str]:
    """Yield what it means that others claimed to be a server which has its agent."""
    if rivals.count:
        times = "once" if rivals.count == 1 else f"{rivals.count} times"
        yield f"another agent claimed {times} to be this server and was refused: was its disk copied?"


def why(state: RolloutState) -> str:
    """Return the one sentence that says why the deployment is as it is, or what it waits for."""
    if state.status is not DeploymentStatus.RUNNING:
        return state.reason
    if state.is_halted:
        return f"{state.halt}; waiting for {_in_change(state)}"
    return _switching(state) if state.has_begun_to_switch else _staging(state)


def _staging(state: RolloutState) -> str:
    ready = state.count(lambda host: host.status is HostStatus.STAGED)
    late = state.names(lambda host: host.is_staging)
    left = f", waiting for {listed(late)}" if ready and late else ""
    return f"staging: {ready} of {state.total} hosts have {state.deployment.version} ready{left}"


def _switching(state: RolloutState) -> str:
    done = state.count(lambda host: host.is_done)
    return f"switching: {done} of {state.total} hosts done, {_in_change(state)} in change"


def _in_change(state: RolloutState) -> str:
    return listed(state.names(lambda host: host.is_in_change))
