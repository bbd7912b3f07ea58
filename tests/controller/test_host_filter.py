"""Which servers a filter means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.host_filter import HostFilter, narrow
from clarion_protocol.errors import BadConfig, ClarionError, NothingMatches


@dataclass(frozen=True)
class Box:
    """Something that can be filtered."""

    name: str
    zone: str = ""
    groups: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


BOXES = [
    Box("db-1", "a", ("db",), {"role": "db", "tier": "gold"}),
    Box("web-1", "a", ("web", "eu"), {"role": "web", "tier": "gold"}),
    Box("web-2", "b", ("web",), {"role": "web"}),
    Box("web-3", "c"),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        pytest.param(HostFilter(), ["db-1", "web-1", "web-2", "web-3"], id="nothing asked: everybody"),
        pytest.param(HostFilter(zones=["b"]), ["web-2"], id="a zone"),
        pytest.param(HostFilter(zones=["b", "c"]), ["web-2", "web-3"], id="one of two zones"),
        pytest.param(HostFilter(groups=["eu", "db"]), ["db-1", "web-1"], id="one of two groups"),
        pytest.param(HostFilter(tags={"role": "web"}), ["web-1", "web-2"], id="a tag"),
        pytest.param(HostFilter(tags={"role": "web", "tier": "gold"}), ["web-1"], id="every one of two tags"),
        pytest.param(HostFilter(zones=["a"], groups=["web"]), ["web-1"], id="a zone and a group"),
    ],
)
def test_who_is_meant(wanted: HostFilter, names: list[str]) -> None:
    """All kinds of conditions hold at once, in the order of the servers."""
    assert [box.name for box in narrow(BOXES, wanted)] == names


@pytest.mark.parametrize(
    ("wanted", "error", "text"),
    [
        pytest.param(HostFilter(zones=["d"]), NothingMatches, "no host has zone d", id="no such zone"),
        pytest.param(HostFilter(zones=["a"], groups=["nowhere"]), NothingMatches, "no host has group", id="nor group"),
        pytest.param(HostFilter(tags={"role": "wbe"}), NothingMatches, "Did you mean web", id="a tag that is near"),
        pytest.param(HostFilter(tags={"colour": ""}), NothingMatches, "", id="a tag without a value"),
        pytest.param(HostFilter(limit="0%"), NothingMatches, "larger --limit", id="a share that is none"),
        pytest.param(HostFilter(limit="0"), NothingMatches, "", id="nobody"),
        pytest.param(HostFilter(limit="many"), BadConfig, "--limit", id="what is no share"),
    ],
)
def test_what_means_nobody_is_an_error(wanted: HostFilter, error: type[ClarionError], text: str) -> None:
    """It says what was asked, or what there is."""
    with pytest.raises(error) as refusal:
        narrow(BOXES, wanted)
    assert text in str(refusal.value)


@given(st.integers(1, 200), st.integers(1, 100), st.text(max_size=5))
def test_a_limit_draws_that_many_and_the_same_again(count: int, percent: int, seed: str) -> None:
    """By the seed alone; those that another draw would have left out come only in place of those that left."""
    boxes = [Box(f"web-{number}") for number in range(count)]
    some = HostFilter(limit=str(1 + count * percent // 200), seed=seed)
    drawn = narrow(boxes, some)
    assert drawn == narrow(boxes, some)
    assert len(drawn) == int(some.limit)
    later = narrow([box for box in boxes if box is not drawn[0]] + [drawn[0]], some)
    assert {box.name for box in later} == {box.name for box in drawn}
    if len(boxes) > len(drawn):
        without = narrow(boxes[:-1], some)
        assert {box.name for box in drawn} - {boxes[-1].name} <= {box.name for box in without}


def test_seeds_differ() -> None:
    """Canaries need not always be the same servers."""
    boxes = [Box(f"web-{number}") for number in range(100)]
    drawn = {tuple(box.name for box in narrow(boxes, HostFilter(limit="5", seed=str(seed)))) for seed in range(10)}
    assert len(drawn) > 1
