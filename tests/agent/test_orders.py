"""What a host does next: a table of orders and standings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_agent.floors import Orders
from clarion_agent.orders import Move, Standing, follow, next_move
from clarion_protocol.documents import Signal, Targets
from clarion_protocol.words import HostStatus, Verb

ME, OTHER = "a" * 32, "b" * 32
STAGE = Orders(stage=True)
LEASED = Orders(stage=True, lease_until=100)


def a_signal(verb: Verb, targets: Targets | None = None) -> Signal:
    """Return a signal with this verb, to this host if nothing else is said."""
    return Signal(
        cluster="c" * 32,
        environment="production",
        stream="production/shop",
        seq=1,
        deployment="d" * 32,
        deployment_sha256="e" * 64,
        verb=verb,
        targets=targets or Targets(hosts=[ME]),
        issued_at=1,
        expires=100,
        reason="why",
    )


@pytest.mark.parametrize(
    ("orders", "standing", "has_lease", "move"),
    [
        pytest.param(Orders(), Standing(), False, Move.REST, id="nothing ordered: rest"),
        pytest.param(STAGE, Standing(), False, Move.STAGE, id="stage ordered: stage"),
        pytest.param(LEASED, Standing(), True, Move.STAGE, id="leased before it staged: stage first"),
        pytest.param(STAGE, Standing(is_staged=True), False, Move.REST, id="staged without lease: wait"),
        pytest.param(LEASED, Standing(is_staged=True), False, Move.REST, id="staged, lease expired: wait"),
        pytest.param(LEASED, Standing(is_staged=True), True, Move.SWITCH, id="staged and leased: switch"),
        pytest.param(
            LEASED, Standing(is_staged=True, outcome=HostStatus.COMMITTED), True, Move.REST, id="settled: rest"
        ),
        pytest.param(Orders(stage=True, abort=True), Standing(), False, Move.SKIP, id="aborted before: skip"),
        pytest.param(
            Orders(stage=True, abort=True),
            Standing(has_switched=True, outcome=HostStatus.COMMITTED),
            False,
            Move.REST,
            id="aborted after: rest",
        ),
        pytest.param(
            Orders(rollback=True),
            Standing(has_switched=True, outcome=HostStatus.COMMITTED),
            False,
            Move.GO_BACK,
            id="rolled back after the switch: go back",
        ),
        pytest.param(
            Orders(rollback=True),
            Standing(has_switched=True, went_back=True, outcome=HostStatus.FAILED),
            False,
            Move.REST,
            id="going back failed: not again",
        ),
        pytest.param(Orders(rollback=True), Standing(), False, Move.SKIP, id="rolled back before the switch: skip"),
        pytest.param(
            Orders(rollback=True),
            Standing(outcome=HostStatus.FAILED),
            False,
            Move.REST,
            id="failed while staging, then rolled back: rest",
        ),
    ],
)
def test_the_next_move(orders: Orders, standing: Standing, has_lease: bool, move: Move) -> None:
    """Each row is one situation."""
    assert next_move(orders, standing, has_lease=has_lease) is move


signals = st.builds(a_signal, st.sampled_from(Verb), st.sampled_from([Targets(hosts=[ME]), Targets(hosts=[OTHER])]))
standings = st.builds(Standing, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([None, *HostStatus]))


@given(received=st.lists(signals), standing=standings)
def test_whatever_was_ordered_nothing_switches_without_a_lease(received: list[Signal], standing: Standing) -> None:
    """The lease is the only way into the danger zone."""
    orders = Orders()
    for signal in received:
        orders = follow(orders, signal, ME)

    assert next_move(orders, standing, has_lease=False) is not Move.SWITCH


@given(received=st.lists(signals))
def test_an_abort_or_a_rollback_is_never_taken_back(received: list[Signal]) -> None:
    """No later signal of the same deployment revives it."""
    orders = follow(Orders(), a_signal(Verb.ABORT), ME)
    for signal in received:
        orders = follow(orders, signal, ME)

    assert next_move(orders, Standing(is_staged=True), has_lease=True) is Move.SKIP


@given(received=st.lists(st.builds(a_signal, st.sampled_from(Verb), st.just(Targets(hosts=[OTHER])))))
def test_orders_for_others_are_not_followed(received: list[Signal]) -> None:
    """Only the floor rises."""
    orders = LEASED
    for signal in received:
        orders = follow(orders, signal, ME)

    assert orders == LEASED
