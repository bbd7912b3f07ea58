"""Which push is the newest: whatever overtakes what, as far as `before` says it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.builds.pushing import A, B, C

from clarion_controller.builds.newest_push import Pushed, newest

D, Z = "d" * 40, "f" * 40
NOTHING = "0" * 40
COMMITS = [f"{number:040x}" for number in range(1, 9)]


def told(*pushes: tuple[str, str]) -> str:
    """Return the newest commit after (before, commit) were announced in this order."""
    return newest([Pushed.said(commit, before) for before, commit in pushes])


def chain_of(commits: Sequence[str], first: str) -> list[tuple[str, str]]:
    """Return the pushes by which a branch that was `first` became one commit after the other."""
    return list(zip([first, *commits], commits))  # noqa: B905 (the last has no successor)


@pytest.mark.parametrize(
    ("pushes", "wanted"),
    [
        pytest.param([("", A), ("", B)], B, id="nobody says what was before"),
        pytest.param([(A, B), (B, C), (C, D)], D, id="in order"),
        pytest.param([(B, C), (Z, A), (A, B)], C, id="the newest first"),
        pytest.param([(NOTHING, B), (B, A), (A, C)], C, id="a branch that was just made"),
        pytest.param([(A, B), (B, A)], A, id="back to what it was"),
        pytest.param([(A, B), (B, A), (A, B)], B, id="there and back, and there again"),
        pytest.param([(NOTHING, A), (A, B), (NOTHING, A)], A, id="deleted, and made again where it began"),
        pytest.param([(NOTHING, A), (A, B), (A, C), (C, A)], A, id="back, and a push before that was never announced"),
        pytest.param([(NOTHING, A), (A, B), (B, C), (D, A)], A, id="back from what was never announced"),
        pytest.param([(A, B), (B, C), (A, B)], C, id="told again"),
        pytest.param([(A, B), ("", D), (A, B)], D, id="told again when something else has come"),
        pytest.param([("", B), (B, C), (A, B)], C, id="started by hand before its announcement came"),
        pytest.param([(A, B), (B, A), (A, B), ("", A)], A, id="back, and nobody says from what"),
        pytest.param([(B, C), ("", B)], C, id="late, and nobody says what was before"),
        pytest.param([(A, A)], A, id="it was that before"),
    ],
)
def test_announcements_end_with(pushes: list[tuple[str, str]], wanted: str) -> None:
    """The commit that the branch really is, wherever that can be known."""
    assert told(*pushes) == wanted


@pytest.mark.parametrize("before", ["main", "x" * 100_000, A[:12], A.upper(), f"{A}\n", "'; --"])
def test_a_before_that_is_no_commit_says_nothing(before: str) -> None:
    """A forge may write there what it likes."""
    assert Pushed.said(B, before) == Pushed(B)
    assert Pushed.said(B, A) == Pushed(B, A)


@given(st.data())
def test_a_chain_ends_with_its_end_in_every_order(data: st.DataObject) -> None:
    """Also where some of it is told again, out of order, under another number."""
    commits = data.draw(st.lists(st.sampled_from(COMMITS), min_size=1, max_size=7, unique=True))
    first = data.draw(st.sampled_from([Z, NOTHING]))
    chain = chain_of(commits, first)
    again = data.draw(st.lists(st.sampled_from(chain[1:]), max_size=3)) if chain[1:] else []
    announced = data.draw(st.permutations([*chain, *again]))
    assert told(*announced) == commits[-1]


@given(st.data())
def test_what_is_known_to_be_older_is_never_the_newest(data: st.DataObject) -> None:
    """Where `before` is missing here and there, order decides, but never against what is said."""
    commits = data.draw(st.lists(st.sampled_from(COMMITS), min_size=2, max_size=7, unique=True))
    chain = [(data.draw(st.sampled_from([before, ""])), commit) for before, commit in chain_of(commits, Z)]
    newest_of_all = told(*data.draw(st.permutations(chain)))
    assert newest_of_all not in {before for before, _ in chain}


@given(st.lists(st.tuples(st.sampled_from([A, B, C, "", NOTHING]), st.sampled_from([A, B, C])), min_size=1, max_size=9))
def test_whatever_is_announced_something_that_was_pushed_is_the_newest(pushes: list[tuple[str, str]]) -> None:
    """Circles and contradictions end, with a commit that was announced."""
    assert told(*pushes) in {commit for _, commit in pushes}
