"""Which hosts may change next: one pure function, the only place that gives leases away.

- Never more than `max_parallel` hosts are in change, whatever they report.
- Never one after a halt.
- Whoever a pause took the lease from kept its place, for it may have used it in that
  moment: it goes first.
- Hosts that are down count as used: with a quarter of the fleet gone, the next batch is
  that much smaller. But one host may always go when nobody else is in change, so that a
  dead host within the budget makes a rollout slower and never blocks it.
"""

from __future__ import annotations

from clarion_controller.state.rollout_state import RolloutState
from clarion_protocol.amounts import Share
from clarion_protocol.words import Strategy


def admit(state: RolloutState) -> list[str]:
    """Return the ids of the staged hosts that may have a lease now, in the order of their names."""
    if state.is_halted:
        return []
    held_back = state.ids(lambda host: host.is_held_back)
    waiting = state.ids(lambda host: host.awaits_lease)
    return [*held_back, *waiting[: room(state)]]


def room(state: RolloutState) -> int:
    """Return how many more hosts may be in change."""
    limit = max_parallel(state)
    in_change = state.count(lambda host: host.is_in_change)
    down = state.count(lambda host: host.is_lost) + len(state.absent)
    return max(limit - in_change - down, 1 if not in_change else 0)


def max_parallel(state: RolloutState) -> int:
    """Return how many hosts may be in change at once; at least one, or nothing would ever change."""
    if state.deployment.plan.type is Strategy.ALL_AT_ONCE:
        return state.total
    return max(Share(state.deployment.plan.max_parallel).of(state.total), 1)
