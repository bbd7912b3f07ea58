"""Nobody shuts the others out of a port that anybody may talk to, nor fills the log."""

from __future__ import annotations

import pytest

from clarion_controller.gateway.crowd import Allowance, Sparing


def test_one_address_gets_half_and_leaves_the_rest_to_others() -> None:
    """What it sends beyond that counts against nobody else; a second later all begin anew."""
    times = [5.0]
    allowance = Allowance(lambda: times[0])
    assert sum(allowance.takes("10.0.0.1", 20) for _ in range(1000)) == 10
    assert sum(allowance.takes("10.0.0.2", 20) for _ in range(7)) == 7
    assert sum(allowance.takes("10.0.0.3", 20) for _ in range(1000)) == 3
    times[0] += 1
    assert allowance.takes("10.0.0.1", 20)


def test_addresses_that_are_refused_cost_no_memory() -> None:
    """However many an attacker has."""
    allowance = Allowance(lambda: 5.0)
    assert sum(allowance.takes(f"address {n}", 20) for n in range(10_000)) == 20
    assert len(vars(allowance)["_taken"]) <= 20


def test_what_happens_often_is_said_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """With how often it happened."""
    times = [5.0]
    sparing = Sparing("knock.refused", lambda: times[0])
    for _ in range(1000):
        sparing.say(reason="so")
    times[0] += 1.5
    sparing.say(reason="so")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert "1000" in said[1]
