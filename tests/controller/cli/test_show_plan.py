"""What a person reads before saying yes."""

from __future__ import annotations

import msgspec
import pytest

from clarion_controller.api.answers import PlanRequest
from clarion_controller.cli.show_plan import batches, describe
from clarion_protocol.documents import Plan
from clarion_protocol.words import Intent, Strategy

from .conftest import a_plan

ASKED = PlanRequest(app="shop", environment="production", version="1.1.0")


def test_a_plan_says_what_goes_where_in_which_batches_and_what_happens_if_it_fails() -> None:
    """All of it fits on one screen."""
    text = describe(a_plan(ASKED))
    assert text.splitlines()[0] == "Deploy shop 1.1.0 (release 2, 4.1 KB) to production: 3 hosts"
    for part in ("rolling, 1 at a time", "batch 1        web-1", "batch 3        web-3", "goes back to 1.0.0"):
        assert part in text


def test_who_cannot_be_reached_is_named() -> None:
    """Nobody is left out in silence."""
    answer = msgspec.structs.replace(a_plan(ASKED), not_connected=["web-2"], without_agent=["web-7"])
    assert "not connected  web-2" in describe(answer)
    assert "without agent  web-7" in describe(answer)


def test_what_a_plan_would_end_is_named() -> None:
    """A second person must not stop the first one's rollout unawares."""
    assert "supersedes" not in describe(a_plan(ASKED))
    answer = msgspec.structs.replace(a_plan(ASKED), supersedes="e" * 32)
    assert "  supersedes     deployment eeeeeeee, which is under way" in describe(answer).splitlines()


def test_a_mixed_fleet_is_not_promised_one_version_to_go_back_to() -> None:
    """A host that fails goes back to what it ran."""
    answer = msgspec.structs.replace(a_plan(ASKED), running={"1.0.0": 2, "1.0.5": 1})
    assert "hosts go back to 1.0.0, or to what they ran" in describe(answer)


def test_a_rollback_says_that_it_is_one() -> None:
    """And names no size, because nothing is downloaded."""
    asked = msgspec.structs.replace(ASKED, intent=Intent.ROLLBACK)
    assert describe(a_plan(asked)).startswith("Roll back shop 1.1.0 (release 2) to production")


@pytest.mark.parametrize(
    ("plan", "sizes"),
    [
        (Plan(max_parallel="1"), [1] * 10),
        (Plan(max_parallel="3"), [3, 3, 3, 1]),
        (Plan(max_parallel="25%"), [2] * 5),
        (Plan(max_parallel="1%"), [1] * 10),
        (Plan(type=Strategy.ALL_AT_ONCE), [10]),
    ],
    ids=["one", "three", "a quarter, rounded down", "never none", "all"],
)
def test_batches_are_as_many_hosts_as_may_be_in_change(plan: Plan, sizes: list[int]) -> None:
    """In the order of the hosts."""
    hosts = [f"h{n}" for n in range(10)]
    found = batches(hosts, plan)
    assert [len(batch) for batch in found] == sizes
    assert [host for batch in found for host in batch] == hosts


def test_a_large_fleet_is_summed_up() -> None:
    """5,000 hosts are not 5,000 lines."""
    answer = msgspec.structs.replace(a_plan(ASKED), targets=[f"h{n}" for n in range(5000)])
    text = describe(answer)
    assert "5,000 hosts" in text
    assert "5000 batches in all" in text
    assert len(text.splitlines()) < 20


def test_what_is_odd_about_the_fleet_is_read_before_it_is_signed() -> None:
    """A few sentences, each on one line, and how many more there are."""
    odd = [f"web-{number} is odd\n" for number in range(7)]
    text = describe(msgspec.structs.replace(a_plan(ASKED), findings=odd))
    assert text.count("is odd") == 5
    assert "2 more notes: 'clarion hosts' shows them" in text
