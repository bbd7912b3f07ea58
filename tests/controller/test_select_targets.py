"""Which hosts a deployment is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.discover.static import StaticDiscoverer
from clarion_controller.discovered import Discovered
from clarion_controller.select_targets import TargetRequest, select_targets
from clarion_protocol.errors import NothingMatches, UnknownName

ENROLLED = {"web-1": "1" * 32, "web-2": "2" * 32, "db-1": "3" * 32}
LISTED = [Discovered(name=name, source="static") for name in ("web-1", "web-2", "web-3")]

names = st.sampled_from([f"web-{number}" for number in range(8)])
fleets = st.none() | st.lists(
    names.map(lambda name: Discovered(name=name, source="static")), unique_by=lambda server: server.name
)
rosters = st.dictionaries(names, st.uuids().map(lambda value: value.hex))


def test_without_a_list_everybody_enrolled_is_meant() -> None:
    """Written as `all`, so that hosts that join later belong to it."""
    selection = select_targets(TargetRequest("production"), None, ENROLLED)
    assert (selection.targets.all, len(selection.hosts), selection.absent) == (True, 3, [])


def test_with_a_list_only_those_are_meant() -> None:
    """An enrolled host that is not listed is not touched; a listed one without agent is counted."""
    selection = select_targets(TargetRequest("production"), LISTED, ENROLLED)
    assert sorted(selection.hosts.values()) == ["web-1", "web-2"]
    assert sorted(selection.targets.hosts) == ["1" * 32, "2" * 32]
    assert selection.absent == ["web-3"]


def test_names_are_written_as_ids_even_if_they_are_all() -> None:
    """What a deployer signs for named hosts never grows."""
    selection = select_targets(TargetRequest("production", list(ENROLLED)), None, ENROLLED)
    assert not selection.targets.all


@pytest.mark.parametrize(
    ("wanted", "error"),
    [(["web-9"], UnknownName), (["db-1"], UnknownName), (["web-3"], NothingMatches), ([], NothingMatches)],
    ids=["no such host", "enrolled, but not listed", "no agent", "nobody"],
)
def test_what_matches_nobody_is_an_error(wanted: list[str], error: type[Exception]) -> None:
    """A filter never silently means fewer hosts than were named."""
    with pytest.raises(error):
        select_targets(TargetRequest("production", wanted), LISTED, ENROLLED)


@given(fleets, rosters, st.none() | st.lists(names, unique=True))
def test_everybody_meant_is_selected_or_counted(
    fleet: list[Discovered] | None, enrolled: dict[str, str], wanted: list[str] | None
) -> None:
    """Hosts and absent together are exactly who is meant; ids are those of the roster."""
    try:
        selection = select_targets(TargetRequest("production", wanted), fleet, enrolled)
    except (UnknownName, NothingMatches):
        return
    there = set(enrolled) if fleet is None else {host.name for host in fleet}
    meant = there if wanted is None else set(wanted)
    assert {*selection.hosts.values(), *selection.absent} == meant
    assert all(enrolled[name] == id_ for id_, name in selection.hosts.items())
    assert all(selection.targets.include(id_) for id_ in selection.hosts)
    if not selection.targets.all:
        assert set(selection.targets.hosts) == set(selection.hosts)


def test_a_name_that_is_listed_twice_is_one_host() -> None:
    """The static list keeps its order and drops repetitions."""
    assert [host.name for host in StaticDiscoverer(("b", "a", "b")).hosts()] == ["b", "a"]
