"""Which hosts a deployment is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.static import StaticDiscoverer
from clarion_controller.host_filter import HostFilter
from clarion_controller.matching import match
from clarion_controller.select_targets import NO_FILTER, Selection, TargetRequest, select_targets
from clarion_controller.state.roster import Host
from clarion_protocol.documents import Targets
from clarion_protocol.errors import NothingMatches, UnknownName


def enrolled(*names: str) -> list[Host]:
    """Return hosts of these names; each one's id is its place, from 1."""
    return [
        Host(f"{place:032x}", name, "production", (), sign_key="", transport_key="", joined_at=0.0)
        for place, name in enumerate(names, 1)
    ]


ENROLLED = enrolled("web-1", "web-2", "db-1")
LISTED = [
    Discovered(name=name, source="aws", zone=zone, tags={"role": "web"})
    for name, zone in {"web-1": "a", "web-2": "b", "web-3": "b"}.items()
]

names = st.sampled_from([f"web-{number}" for number in range(8)])
fleets = st.none() | st.lists(
    names.map(lambda name: Discovered(name=name, source="static")), unique_by=lambda server: server.name
)
rosters = st.lists(names, unique=True).map(lambda chosen: enrolled(*chosen))


def select(
    discovered: list[Discovered] | None, wanted: list[str] | None = None, where: HostFilter = NO_FILTER
) -> Selection:
    """Return who is meant of a fleet in which web-1, web-2 and db-1 are enrolled."""
    return select_targets(TargetRequest("production", wanted, where), match(discovered, ENROLLED))


def test_without_a_list_everybody_enrolled_is_meant() -> None:
    """Written as `all`, so that hosts that join later belong to it."""
    selection = select(None)
    assert (selection.targets.all, len(selection.hosts), selection.absent) == (True, 3, [])


def test_with_a_list_only_those_are_meant() -> None:
    """An enrolled host that is not listed is not touched; a listed one without agent is counted; it still is all."""
    selection = select(LISTED)
    assert sorted(selection.hosts.values()) == ["web-1", "web-2"]
    assert selection.targets.all
    assert selection.absent == ["web-3"]


def test_names_are_written_as_ids_even_if_they_are_all() -> None:
    """What a deployer signs for named hosts never grows."""
    selection = select(None, [host.name for host in ENROLLED])
    assert not selection.targets.all
    assert selection.targets.hosts == [host.id for host in ENROLLED]


def test_a_filter_is_written_as_ids() -> None:
    """Who has what is asked for now is meant, with and without agent, and nobody who gets it later."""
    selection = select(LISTED, where=HostFilter(zones=["b"], tags={"role": "web"}))
    assert selection.targets == Targets(hosts=[f"{2:032x}"])
    assert selection.absent == ["web-3"]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [(["web-9"], UnknownName), (["db-1"], UnknownName), (["web-3"], NothingMatches), ([], NothingMatches)],
    ids=["no such host", "enrolled, but not listed", "no agent", "nobody"],
)
def test_what_matches_nobody_is_an_error(wanted: list[str], error: type[Exception]) -> None:
    """Names never silently mean fewer hosts than were named."""
    with pytest.raises(error):
        select(LISTED, wanted)


def test_a_named_host_that_no_source_lists_is_refused_with_the_reason() -> None:
    """It exists, so it is not called unknown: its server is what nobody lists."""
    with pytest.raises(UnknownName, match="db-1 has an agent, but no source of production lists") as refusal:
        select(LISTED, ["web-1", "db-1"])
    assert "clarion hosts -e production" in (refusal.value.hint or "")


def test_a_filter_that_fits_nobody_is_an_error() -> None:
    """Also when the names alone would fit."""
    with pytest.raises(NothingMatches, match="no host has zone c"):
        select(LISTED, ["web-1"], HostFilter(zones=["c"]))


@given(fleets, rosters, st.none() | st.lists(names, unique=True))
def test_everybody_meant_is_selected_or_counted(
    fleet: list[Discovered] | None, roster: list[Host], wanted: list[str] | None
) -> None:
    """Hosts and absent together are exactly who is meant; ids are those of the roster."""
    try:
        selection = select_targets(TargetRequest("production", wanted), match(fleet, roster))
    except (UnknownName, NothingMatches):
        return
    ids = {host.name: host.id for host in roster}
    there = set(ids) if fleet is None else {server.name for server in fleet}
    meant = there if wanted is None else set(wanted)
    assert {*selection.hosts.values(), *selection.absent} == meant == set(selection.servers.values())
    assert all(ids[name] == id_ for id_, name in selection.hosts.items())
    assert all(selection.targets.include(id_) for id_ in selection.hosts)
    assert selection.targets.all == (wanted is None)
    if not selection.targets.all:
        assert set(selection.targets.hosts) == set(selection.hosts)


def test_a_name_that_is_listed_twice_is_one_host() -> None:
    """The static list keeps its order and drops repetitions."""
    assert [host.name for host in StaticDiscoverer(("b", "a", "b")).hosts()] == ["b", "a"]
