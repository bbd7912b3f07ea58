"""Numbers of signals: never twice, never back, never out of reach."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.sign import MAX_AHEAD, next_seq
from clarion_protocol.policy import Limits

times = st.floats(1.7e9, 4e9)
numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers, times)
def test_a_number_is_above_the_last_and_never_behind_the_clock(last: int, claimed: int, now: float) -> None:
    """So none is used twice, also by a controller that forgot some."""
    given_number = next_seq(last, claimed, now)
    assert given_number > last
    assert given_number >= now // 60


@given(times, numbers)
def test_a_liar_pushes_a_stream_only_so_far(now: float, claimed: int) -> None:
    """From where the clock is, no claim leads beyond what every other host still accepts."""
    assert next_seq(0, claimed, now) - int(now // 60) <= MAX_AHEAD + 1 < Limits().max_seq_jump / 2


@given(times, st.floats(0, 365 * 86_400))
def test_a_stream_may_rest_for_a_year(then: float, rest: float) -> None:
    """The first signal after the rest is not too far ahead of the last for a host to accept."""
    before = next_seq(0, 0, then)
    assert next_seq(before, 0, then + rest) - before <= Limits().max_seq_jump


@given(times, st.lists(st.floats(0, 120), max_size=50), st.integers(0, 49))
def test_a_restored_backup_is_above_what_it_forgot(now: float, pauses: list[float], kept: int) -> None:
    """Hosts tell what they have accepted; with that, the next number is new whatever was forgotten."""
    used = [0]
    for pause in pauses:
        now += pause
        used.append(next_seq(used[-1], 0, now))
    remembered = used[min(kept, len(used) - 1)]
    assert next_seq(remembered, used[-1], now) > used[-1]
