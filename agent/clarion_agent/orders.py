"""What a host does next in a deployment, decided from values, without IO.

- Nothing switches without a lease that is valid at that moment.
- A pause takes the lease back; the next lease goes on.
- An abort ends what has not switched; in the danger zone it is an undo.
- A rollback takes back what has switched, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec

from clarion_agent.floors import Orders
from clarion_agent.journal import Intent
from clarion_protocol.documents import Signal
from clarion_protocol.words import HostStatus, Verb


class Move(Enum):
    """What to do next."""

    REST = "rest"
    STAGE = "stage"
    SWITCH = "switch"
    SKIP = "skip"
    GO_BACK = "go back"


@dataclass(frozen=True)
class Standing:
    """How far a deployment has come on this host; `outcome` is None until it has settled."""

    is_staged: bool = False
    has_switched: bool = False
    went_back: bool = False
    outcome: HostStatus | None = None


def follow(orders: Orders, signal: Signal, host: str) -> Orders:
    """Return the orders of a deployment after an accepted signal, which may be for others."""
    if not signal.targets.include(host):
        return orders
    if signal.verb is Verb.STAGE:
        return msgspec.structs.replace(orders, stage=True)
    if signal.verb is Verb.LEASE:
        return msgspec.structs.replace(orders, stage=True, lease_until=signal.expires)
    if signal.verb is Verb.PAUSE:
        return msgspec.structs.replace(orders, lease_until=0)
    is_rollback = signal.verb is Verb.ROLLBACK
    return Orders(
        stage=orders.stage,
        abort=orders.abort or not is_rollback,
        rollback=orders.rollback or is_rollback,
        reason=signal.reason,
    )


def standing_of(intent: Intent | None, digest: str, *, is_staged: bool) -> Standing:
    """Return how far the deployment with this envelope digest has come, by the journal."""
    if intent is None or intent.digest != digest:
        return Standing(is_staged)
    return Standing(is_staged, intent.stage is not None, intent.went_back, intent.outcome)


def next_move(orders: Orders, standing: Standing, *, has_lease: bool) -> Move:
    """Return what to do next."""
    if orders.rollback and not standing.went_back:
        return _way_back(standing)
    if standing.outcome is not None:
        return Move.REST
    if orders.abort or orders.rollback:
        return Move.SKIP
    if not standing.is_staged:
        return Move.STAGE if orders.stage else Move.REST
    return Move.SWITCH if has_lease else Move.REST


def _way_back(standing: Standing) -> Move:
    if standing.has_switched or standing.outcome is HostStatus.COMMITTED:
        return Move.GO_BACK
    return Move.SKIP if standing.outcome is None else Move.REST
