"""What is believed of a source's answers: no error, and no fleet that shrank too much, unless somebody says so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.judge import Answer, Belief, accept, doubt, hear
from clarion_protocol.amounts import Share
from clarion_protocol.errors import CloudUnavailable

HOSTS = [Discovered(name="web", source="aws", instance=f"aws:i-{number:08x}") for number in range(20)]
TROUBLE = CloudUnavailable("the cloud is away")


def answer(*numbers: int, at: float = 0.0) -> Answer:
    """Return an answer that lists these hosts."""
    return Answer(tuple(HOSTS[number] for number in numbers), at)


@pytest.mark.parametrize(
    ("before", "after", "max_shrink", "is_believed"),
    [
        pytest.param(range(10), range(20), "20%", True, id="more hosts"),
        pytest.param(range(10), range(2, 10), "20%", True, id="just as many are missing as may be"),
        pytest.param(range(10), range(3, 10), "20%", False, id="one more is missing than may be"),
        pytest.param(range(10), [], "100%", False, id="all are missing, whatever may be"),
        pytest.param([1], [], "20%", False, id="the only one is missing"),
        pytest.param(range(3), [0, 1], "20%", True, id="one of a few"),
        pytest.param(range(3), [0], "20%", False, id="two of a few"),
        pytest.param(range(10), range(10, 20), "20%", False, id="as many as before, but others"),
        pytest.param(range(10), range(8), "1", False, id="two are missing where one may be"),
        pytest.param(range(10), range(9), "0", False, id="none may be missing"),
        pytest.param([], [], "0", True, id="none before and none now"),
        pytest.param([], range(5), "0", True, id="the first hosts"),
    ],
)
def test_an_answer_is_believed_unless_too_many_are_missing(
    before: Sequence[int], after: Sequence[int], max_shrink: str, is_believed: bool
) -> None:
    """Missing is who was believed in and is not listed; who came makes up for nobody."""
    first, second = answer(*before), answer(*after, at=1.0)
    belief = hear(hear(Belief(), first, Share(max_shrink)), second, Share(max_shrink))
    assert belief == (Belief(second) if is_believed else Belief(first, offered=second))


def test_who_has_no_number_is_known_by_name() -> None:
    """As in a list of names."""
    names = [Discovered(name=name, source="inventory") for name in ("a", "b", "c")]
    belief = hear(Belief(), Answer(tuple(names), 0.0), Share("0"))
    assert hear(belief, Answer(tuple(names[1:]), 1.0), Share("0")).offered
    assert hear(belief, Answer(tuple(reversed(names)), 1.0), Share("0")).offered is None


def test_an_error_changes_nothing_but_is_shown() -> None:
    """What was believed and what was offered stay, until the source answers."""
    belief = hear(hear(Belief(), answer(1, 2, 3), Share("20%")), answer(1), Share("20%"))
    doubted = doubt(belief, TROUBLE)
    assert (doubted.believed, doubted.offered, doubted.trouble) == (belief.believed, belief.offered, TROUBLE)
    assert hear(doubted, answer(1, 2, 3), Share("20%")).trouble is None
    assert hear(doubted, answer(1), Share("20%")).trouble is None


def test_a_shrunken_fleet_is_believed_once_somebody_says_so() -> None:
    """And the next answers are held against that."""
    belief = accept(hear(hear(Belief(), answer(*range(10)), Share("20%")), answer(1, 2), Share("20%")))
    assert belief == Belief(answer(1, 2))
    assert accept(belief) == belief
    assert hear(belief, answer(1), Share("20%")) == Belief(answer(1))


def test_a_fleet_that_recovers_takes_its_offer_back() -> None:
    """An outage that is over needs nobody."""
    shrunk = hear(hear(Belief(), answer(*range(10)), Share("20%")), answer(1), Share("20%"))
    assert hear(shrunk, answer(*range(9), at=2.0), Share("20%")) == Belief(answer(*range(9), at=2.0))


answers = st.lists(st.integers(0, 19), unique=True).map(lambda numbers: answer(*numbers))
shares = st.sampled_from(["0", "1", "3", "0%", "20%", "50%", "100%"]).map(Share)


@given(st.lists(st.one_of(answers, st.just(TROUBLE)), max_size=20), shares)
def test_whatever_a_source_says_the_fleet_never_shrinks_too_much_at_once(
    heard: list[Answer | CloudUnavailable], max_shrink: Share
) -> None:
    """In any order of answers and errors, without anybody saying that it is true."""
    belief = Belief()
    for each in heard:
        before = belief
        belief = doubt(belief, each) if isinstance(each, CloudUnavailable) else hear(belief, each, max_shrink)
        missing = {host.instance for host in before.hosts} - {host.instance for host in belief.hosts}
        assert len(missing) <= max_shrink.of(len(before.hosts))
        assert belief.hosts or not before.hosts
        if isinstance(each, CloudUnavailable):
            assert (belief.believed, belief.offered) == (before.believed, before.offered)
        else:
            assert belief.trouble is None
            assert belief.latest == each
