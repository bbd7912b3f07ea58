"""What people are told about a deployment, in each situation."""

from __future__ import annotations

import pytest
from tests.controller.test_decide import CHECKING, COMMITTED, HALTED, PULLING, STAGED, UNTOLD, situation

from clarion_controller.explain import in_words, listed, why, wrong_clock
from clarion_controller.state.rollout_state import RolloutState
from clarion_protocol.words import DeploymentStatus


@pytest.mark.parametrize(
    ("state", "said"),
    [
        pytest.param(situation(UNTOLD, PULLING), "staging: 0 of 2 hosts have 1 ready", id="at the beginning"),
        pytest.param(
            situation(STAGED, PULLING),
            "staging: 1 of 2 hosts have 1 ready, waiting for web-1",
            id="later, who is waited for",
        ),
        pytest.param(
            situation(COMMITTED, CHECKING, STAGED),
            "switching: 1 of 3 hosts done, web-1 in change",
            id="who is in change",
        ),
        pytest.param(
            situation(CHECKING, STAGED, halt=HALTED),
            f"{HALTED}; waiting for web-0",
            id="after a halt, who has to finish",
        ),
        pytest.param(situation(COMMITTED, status=DeploymentStatus.SUCCEEDED), "as it was", id="when it is over"),
    ],
)
def test_each_status_has_one_sentence_of_reason(state: RolloutState, said: str) -> None:
    """It says what is waited for, and by name as long as names help."""
    assert why(state) == said


def test_long_lists_name_the_first_few() -> None:
    """Nobody reads 3,000 names in one line."""
    assert [listed([]), listed(["a", "b", "c"]), listed(list("abcde"))] == ["nobody", "a, b, c", "a, b, c and 2 more"]


def test_times_are_rounded_to_what_a_person_cares_for() -> None:
    """Seconds for two minutes, minutes for two hours."""
    assert [in_words(119.4), in_words(120), in_words(7199), in_words(7200)] == ["119 s", "2 min", "120 min", "2 h"]


def test_a_clock_that_is_nearly_right_is_no_trouble() -> None:
    """A heartbeat may be as old as the pause between two of them."""
    assert (wrong_clock(-89.0), wrong_clock(59.0)) == ("", "")
    assert wrong_clock(-200.0) == "its clock is 3 min behind; run 'timedatectl' there"
