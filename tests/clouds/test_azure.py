"""AzureDiscoverer, with the real SDK, against a double of Resource Graph that really runs its queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.clouds import fake_kql
from tests.clouds.fake_arm import SUBSCRIPTION, FakeArm, Machine, fleet_of, vm_id

from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.discover.azure_graph import Limits
from clarion_controller.discover.azure_query import quoted, server_queries
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Azure
from clarion_protocol.errors import BadConfig

OTHER = "99999999-2222-3333-4444-555555555555"
SOON = Limits(connect=2, read=2, total=6, pause=0.05)


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    """Return an Azure that has nothing in it."""
    with FakeArm() as arm:
        yield arm


def hosts(arm: FakeArm, limits: Limits = SOON, **source: Any) -> list[Discovered]:
    """Return what is discovered there."""
    source = {"subscriptions": (SUBSCRIPTION,), "endpoint": arm.url} | source
    return AzureDiscoverer(Azure(**source), limits).hosts()


def names(arm: FakeArm, **source: Any) -> set[str]:
    """Return the names of what is discovered there."""
    return {host.name for host in hosts(arm, **source)}


def test_a_machine_is_described(arm: FakeArm) -> None:
    """A machine has its vmId, name, zone, state, tags and private addresses."""
    arm.add(*Machine(name="web-1", tags={"role": "web"}, zone="1", addresses=("10.0.0.4", "10.0.0.5")).resources())
    assert hosts(arm) == [
        Discovered(
            name="web-1",
            source="azure",
            instance=f"azure:{vm_id('web-1')}",
            zone="westeurope-1",
            state="running",
            tags={"role": "web"},
            addresses=("10.0.0.4", "10.0.0.5"),
        )
    ]


def test_a_machine_without_zone_tags_and_addresses_is_described(arm: FakeArm) -> None:
    """What Azure does not say of a machine is empty."""
    arm.add(*Machine(name="bare", addresses=()).resources())
    (bare,) = hosts(arm)
    assert (bare.zone, bare.tags, bare.addresses, bare.groups) == ("westeurope", {}, (), ())


def test_both_kinds_of_scale_sets_are_found(arm: FakeArm) -> None:
    """Machines of flexible and instances of uniform scale sets are in the group of their set."""
    arm.add(*Machine(name="flex_1a2b", scale_set="flex").resources())
    arm.add(Machine(name="uni_7", scale_set="uni", zone="2", tags={"role": "web"}).instance())
    found = {host.name: host for host in hosts(arm)}
    assert found["flex_1a2b"].groups == ("flex",)
    assert found["uni000007"].groups == ("uni",)
    assert (found["uni000007"].zone, found["uni000007"].tags) == ("westeurope-2", {"role": "web"})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, {"web", "db", "set_1", "uni"}),
        ({"tags": {"role": "web"}}, {"web", "set_1", "uni"}),
        ({"tags": {"role": "web", "stage": "prod"}}, {"web"}),
        ({"tags": {"role": "WEB"}}, set()),
        ({"tags": {"stage": ""}}, {"db"}),
        ({"tags": {"absent": ""}}, set()),
        ({"resource_groups": ("Blue",)}, {"db", "uni"}),
        ({"locations": ("NorthEurope",)}, {"db"}),
        ({"scale_sets": ("SET", "uni-set")}, {"set_1", "uni"}),
        ({"states": ("deallocated",)}, {"off"}),
        ({"states": ()}, {"web", "db", "set_1", "uni", "off"}),
    ],
    ids=lambda value: str(value if isinstance(value, dict) else sorted(value)),  # a set has no order to name it by
)
def test_azure_itself_filters(arm: FakeArm, source: dict[str, Any], expected: set[str]) -> None:
    """Only servers that the source describes are listed; tags tell cases apart, names do not."""
    arm.add(*Machine(name="web", tags={"role": "web", "stage": "prod"}).resources())
    arm.add(*Machine(name="db", tags={"role": "db", "stage": ""}, group="blue", location="northeurope").resources())
    arm.add(*Machine(name="set_1", tags={"role": "web"}, scale_set="set").resources())
    arm.add(*Machine(name="off", state="deallocated").resources())
    arm.add(Machine(name="uni", tags={"role": "web"}, group="blue", scale_set="uni-set").instance())
    assert names(arm, **source) == expected


@pytest.mark.parametrize("page", [1, 7, 1000])
def test_pages_are_one_list_in_the_order_of_the_ids(page: int) -> None:
    """However many rows a page has, each machine is listed once, with all its addresses."""
    with FakeArm(page=page) as arm:
        for number in range(20):
            arm.add(*Machine(name=f"web-{number}", addresses=(f"10.0.0.{number}", f"10.1.0.{number}")).resources())
        found = hosts(arm)
    assert [host.instance for host in found] == sorted(f"azure:{vm_id(f'web-{number}')}" for number in range(20))
    assert all(len(host.addresses) == 2 for host in found)


def test_more_machines_than_a_page_holds_are_all_found(arm: FakeArm) -> None:
    """2,001 machines are three pages, each asked for with as many rows as Azure gives."""
    arm.add(*fleet_of(2001))
    assert len(hosts(arm)) == 2001
    pages = [asked.options for asked in arm.asked if asked.query.startswith("Resources")]
    assert [(page["$top"], "$skipToken" in page) for page in pages] == [(1000, False), (1000, True), (1000, True)]


HOSTILE = [
    "' or 'a' == 'a",
    "') | union Resources | where name !in~ ('",
    "\\",
    "\\' or true //",
    "web' // rest",
    '"web"',
    "{filters}",
    "'",
    "ünï'cödé",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_cannot_leave_its_quotes(arm: FakeArm, value: str) -> None:
    """A tag, its name, or the name of a group only ever matches itself, whatever it looks like."""
    arm.add(*Machine(name="theirs", tags={value: value}, group=value, scale_set="set").resources())
    arm.add(*Machine(name="another", tags={"role": "web"}).resources())
    assert names(arm, tags={value: value}) == {"theirs"}
    assert names(arm, resource_groups=(value,)) == {"theirs"}
    for key in ("locations", "scale_sets", "states"):
        assert names(arm, **{key: (value,)}) == set()


@given(some.text(some.characters(exclude_categories=["C", "Z"]) | some.just(" ")).filter(lambda text: "{{" not in text))
def test_any_printable_value_is_one_literal(value: str) -> None:
    """A literal ends where it should and means the value that it was made of."""
    text = f"Resources | where name == {quoted(value)} | project name"
    rows = [{"name": value}, {"name": f"{value}x"}, {"name": f"x{value}"}]
    assert fake_kql.query(text, {"Resources": rows}).rows == [{"name": value}]


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\r", "\u2028", "\t", "{{/subscriptions/x}}"])
def test_a_value_that_azure_cannot_have_is_refused(arm: FakeArm, value: str) -> None:
    """Line breaks, and what Resource Graph might take for a shared query, are not even asked for."""
    with pytest.raises(BadConfig, match=r"fleet\.toml"):
        hosts(arm, tags={"role": value})
    assert arm.asked == []


def test_machines_and_instances_are_in_one_order(arm: FakeArm) -> None:
    """The order is that of the ids, whichever table a server is in."""
    for number in range(8):
        arm.add(*Machine(name=f"web-{number}").resources(), Machine(name=f"uni_{number}", scale_set="uni").instance())
    found = [host.instance for host in hosts(arm)]
    assert len(found) == 16
    assert found == sorted(found)


def test_servers_of_several_subscriptions_are_one_list(arm: FakeArm) -> None:
    """All subscriptions are asked at once, each once, however they are spelled."""
    arm.readable.add(OTHER)
    arm.add(*Machine(name="here").resources(), *Machine(name="there", subscription=OTHER).resources())
    assert names(arm, subscriptions=(SUBSCRIPTION, OTHER.upper(), OTHER)) == {"here", "there"}
    assert all(asked.subscriptions == [SUBSCRIPTION, OTHER] for asked in arm.asked)


TYPOS = [
    ("virtualMachineScaleSet.id", "virtualMachineScaleSets.id"),
    ("tostring(zones[0])", "zones[0].name.x.tostring()"),
    ("split(id, '/')[8]", "split(id, '/')[7]"),
    ("resourceGroup in~", "resourcegroup in~"),
    ("in~", "in"),
    ("=~ 'microsoft.compute/virtualmachine", "== 'microsoft.compute/virtualMachine"),
    ("tolower(id)", "id"),
    ("tolower(tostring(properties.virtualMachine.id))", "tolower(properties.virtualMachine.id)"),
    ("mv-expand", "mvexpand"),
    ("leftouter", "inner"),
    ("on machine", "on vm"),
    ("asc", "ascending"),
    ("'PowerState/running'", "'running'"),
    ("extended.instanceView", "instanceView"),
    ("privateIPAddress", "privateIpAddress"),
]


@pytest.mark.parametrize(("right", "wrong"), TYPOS, ids=str)
def test_a_typo_in_a_query_does_not_go_unseen(right: str, wrong: str) -> None:
    """The double is strict: each of these queries is refused or lists something else than the right one."""
    machine = Machine(name="web", scale_set="set", zone="1")
    tables = {"Resources": machine.resources(), "ComputeResources": [machine.instance()]}
    queries = server_queries(Azure(subscriptions=(), resource_groups=("prod",)))
    assert any(right in query for query in queries)
    for query in queries:
        expected = fake_kql.query(query, tables).rows
        if right in query:
            assert _rows(query.replace(right, wrong), tables) != expected


def _rows(query: str, tables: fake_kql.Tables) -> list[fake_kql.Row] | None:
    try:
        return fake_kql.query(query, tables).rows
    except fake_kql.BadQuery:
        return None


def test_every_list_is_in_an_order_that_is_unique() -> None:
    """Rows that compare equal could change places between two pages."""
    machine = Machine(name="web", addresses=("10.0.0.4", "10.0.0.5"))
    for query in server_queries(Azure(subscriptions=())):
        assert fake_kql.query(query, {"Resources": machine.resources(), "ComputeResources": []}).is_ordered
