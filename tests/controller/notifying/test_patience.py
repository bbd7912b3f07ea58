"""When what did not arrive is tried again."""

from __future__ import annotations

import pytest

from clarion_controller.notice import Undelivered
from clarion_controller.notifying.outbox import DAY, Pending
from clarion_controller.notifying.patience import Patience

NOW = 1000.0
WHY = Undelivered("500")


def pending(attempts: int = 0, made_at: float = NOW, next_at: float = 0.0) -> Pending:
    """Return something that waits."""
    return Pending(1, "notify:chat", "1", b"", made_at, attempts, next_at)


def pause(attempts: int, why: Undelivered = WHY, random: float = 1.0) -> float:
    """Return how long it is waited after an attempt that failed."""
    next_at = Patience().next_at(pending(attempts), why, NOW, lambda: random)
    assert next_at is not None
    return next_at - NOW


def test_pauses_double_up_to_a_quarter_of_an_hour() -> None:
    """Also after more attempts than a float can count by doubling."""
    assert [pause(attempts) for attempts in (0, 1, 2, 9, 10, 10_000)] == [1, 2, 4, 512, 900, 900]


def test_pauses_are_blurred() -> None:
    """Channels that failed together do not come back together."""
    assert pause(3, random=0.0) == pause(3, random=1.0) / 2


@pytest.mark.parametrize(
    ("asked", "waited"),
    [pytest.param(0.1, 1, id="less"), pytest.param(30.0, 30, id="more"), pytest.param(1e9, 3600, id="far too much")],
)
def test_a_server_that_asks_for_patience_gets_it_within_reason(asked: float, waited: float) -> None:
    """Retry-After makes a pause longer, up to an hour."""
    assert pause(0, Undelivered("429", retry_after=asked)) == waited


@pytest.mark.parametrize(
    ("waits", "why"),
    [
        pytest.param(pending(made_at=NOW - 3 * DAY, attempts=49), WHY, id="after three days"),
        pytest.param(pending(), Undelivered("404", is_final=True), id="when it is refused for good"),
    ],
)
def test_it_is_given_up(waits: Pending, why: Undelivered) -> None:
    """Nobody reads of last week at once with today."""
    assert Patience().next_at(waits, why, NOW, lambda: 0.5) is None


def test_a_clock_that_jumps_ahead_gives_nothing_up() -> None:
    """Three days must have passed with attempts in them."""
    assert Patience().next_at(pending(made_at=NOW - 300 * DAY, attempts=2), WHY, NOW, lambda: 0.5) is not None


@pytest.mark.parametrize(
    ("next_at", "left"),
    [
        pytest.param(NOW + 10, 10, id="later"),
        pytest.param(NOW - 10, -10, id="due"),
        pytest.param(NOW + DAY, 0, id="the clock was set back"),
    ],
)
def test_what_is_left_to_wait_is_never_longer_than_a_pause_can_be(next_at: float, left: float) -> None:
    """A clock that jumps does not silence a channel."""
    assert Patience().left(pending(next_at=next_at), NOW) == left
