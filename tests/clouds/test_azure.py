"""AzureDiscoverer, with the real SDK, against a double of Resource Graph that really runs its queries."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.clouds import fake_kql
from tests.clouds.fake_arm import CUT, HANG, SUBSCRIPTION, Failure, FakeArm, Machine, fleet_of, vm_id

from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.discover.azure_graph import Limits
from clarion_controller.discover.azure_query import quoted, server_queries
from clarion_controller.discovered import Discovered
from clarion_controller.fleet import Azure
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

OTHER = "99999999-2222-3333-4444-555555555555"
SOON = Limits(connect=0.5, read=0.5, total=5, pause=0.05)


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
    ids=str,
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


@given(some.text(some.characters(exclude_categories=["C", "Z"]) | some.just(" ")))
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


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"resultTruncated": "true", "$skipToken": None}, id="truncated, and no way to go on"),
        pytest.param({"$skipToken": None}, id="fewer rows than there are, said to be all"),
        pytest.param(
            {"$skipToken": None, "resultTruncated": "true", "totalRecords": 3}, id="truncated, said to be all"
        ),
        pytest.param({"totalRecords": 11}, id="a row never comes"),
        pytest.param({"totalRecords": 0}, id="more rows than there are"),
        pytest.param({"data": []}, id="an empty page, and a way to go on"),
    ],
)
def test_a_part_is_never_taken_for_the_whole(answer: dict[str, Any]) -> None:
    """An answer in which rows may be missing is an error, not a smaller fleet."""
    with FakeArm(page=3) as arm:
        arm.add(*fleet_of(10))
        arm.spoiled["Resources"] = answer
        with pytest.raises(CloudUnavailable, match=r"listed|came or went"):
            hosts(arm)


def test_servers_that_go_while_pages_are_read_make_an_error() -> None:
    """Where a server goes between two pages, the next page begins one too late: that answer is not believed."""
    with FakeArm(page=3) as arm:
        arm.add(*fleet_of(10))
        arm.between_pages = lambda: arm.tables["Resources"].pop(0)
        with pytest.raises(CloudUnavailable, match="came or went"):
            hosts(arm)


def test_a_subscription_that_cannot_be_seen_is_an_error(arm: FakeArm) -> None:
    """Azure leaves out what may not be read, without a word; the fleet is not believed to be smaller."""
    arm.add(*Machine(name="web").resources())
    with pytest.raises(CloudRefused, match=f"nothing of subscription {OTHER}") as caught:
        hosts(arm, subscriptions=(SUBSCRIPTION, OTHER))
    assert "Reader" in str(caught.value)


def test_servers_of_several_subscriptions_are_one_list(arm: FakeArm) -> None:
    """All subscriptions are asked at once, each once, however they are spelled."""
    arm.readable.add(OTHER)
    arm.add(*Machine(name="here").resources(), *Machine(name="there", subscription=OTHER).resources())
    assert names(arm, subscriptions=(SUBSCRIPTION, OTHER.upper(), OTHER)) == {"here", "there"}
    assert all(asked.subscriptions == [SUBSCRIPTION, OTHER] for asked in arm.asked)


def test_plain_http_gets_no_credentials(arm: FakeArm) -> None:
    """Nothing that signs in travels in plain text."""
    hosts(arm)
    assert all("Authorization" not in asked.headers for asked in arm.asked)


REFUSED = [
    pytest.param(Failure(401, "InvalidAuthenticationToken"), CloudRefused, "accept the credentials", id="wrong token"),
    pytest.param(Failure(401, "ExpiredAuthenticationToken"), CloudRefused, "expired", id="expired token"),
    pytest.param(Failure(401, body=b""), CloudRefused, "accept the credentials", id="401 without a word"),
    pytest.param(Failure(403, "AuthorizationFailed"), CloudRefused, "role Reader", id="no permission"),
    pytest.param(
        Failure(403, "AuthorizationFailed"), CloudRefused, "Microsoft.ResourceGraph/resources/read", id="the action"
    ),
    pytest.param(Failure(403, "AuthorizationFailed"), CloudRefused, SUBSCRIPTION, id="on which subscription"),
    pytest.param(
        Failure(400, "BadRequest", details=("NoValidSubscriptionsInQueryRequest",)),
        CloudRefused,
        "role Reader",
        id="no subscription that may be read",
    ),
    pytest.param(Failure(404, "SubscriptionNotFound"), BadConfig, SUBSCRIPTION, id="no such subscription"),
    pytest.param(
        Failure(400, "BadRequest", details=("SubscriptionsContainInvalidGuids",)), BadConfig, "az account", id="no GUID"
    ),
    pytest.param(Failure(400, "BadRequest", details=("InvalidQuery",)), CloudUnavailable, "InvalidQuery", id="query"),
    pytest.param(Failure(307, headers={"Location": "http://127.0.0.1:1/"}), CloudUnavailable, "endpoint", id="sent on"),
]


@pytest.mark.parametrize(("failure", "kind", "says"), REFUSED)
def test_a_refusal_says_what_to_do_and_is_not_repeated(
    arm: FakeArm, failure: Failure, kind: type[ClarionError], says: str
) -> None:
    """What asking again does not help is one request, and one sentence with the next command; nothing is quoted."""
    arm.failures.append(failure)
    with pytest.raises(kind) as caught:
        hosts(arm)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert len(arm.asked) == 1


PASSING = [
    pytest.param(Failure(429, "RateLimiting", {"Retry-After": "0"}), "patience", id="throttled"),
    pytest.param(Failure(500, "InternalServerError"), "fault of its own", id="500"),
    pytest.param(Failure(502, body=b"<html>Bad gateway"), "fault of its own", id="502 from a proxy"),
    pytest.param(Failure(503, body=b""), "fault of its own", id="503 without a word"),
    pytest.param(CUT, "does not answer", id="cut off"),
    pytest.param(HANG, "does not answer", id="no answer"),
]


@pytest.mark.parametrize(("failure", "says"), PASSING)
def test_what_may_pass_is_asked_again(arm: FakeArm, failure: Failure, says: str) -> None:
    """After two failures the third attempt is believed; a third failure is an error."""
    arm.add(*Machine(name="web").resources())
    arm.failures.extend([failure] * 2)
    assert names(arm) == {"web"}
    arm.failures.extend([failure] * 3)
    with pytest.raises(CloudUnavailable, match=says):
        hosts(arm)


def test_a_failure_on_a_later_page_is_no_part_of_the_list(arm: FakeArm) -> None:
    """Where the last page does not come, what came before is not taken for all."""
    arm.page = 3
    arm.add(*fleet_of(10))
    arm.between_pages = lambda: arm.failures.extend([Failure(500)] * 3)
    with pytest.raises(CloudUnavailable, match="fault of its own"):
        hosts(arm)


@pytest.mark.parametrize("wait", ["3600", "86400", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_nobody_waits_for_as_long_as_azure_likes(arm: FakeArm, wait: str) -> None:
    """Where Azure asks for more patience than there is, that is the answer."""
    arm.failures.extend([Failure(429, "RateLimiting", {"Retry-After": wait})] * 3)
    began = time.monotonic()
    with pytest.raises(CloudUnavailable, match="patience"):
        hosts(arm)
    assert time.monotonic() - began < 4


def test_the_wait_that_azure_asks_for_is_kept(arm: FakeArm) -> None:
    """A throttled question is asked again when Azure says, not before."""
    arm.failures.append(Failure(429, "RateLimiting", {"Retry-After": "1"}))
    began = time.monotonic()
    hosts(arm)
    assert time.monotonic() - began >= 1


def test_all_pages_together_have_an_end() -> None:
    """No page is begun after the patience is over, however many there are."""
    with FakeArm(page=1) as arm:
        arm.add(*fleet_of(50))
        arm.between_pages = lambda: time.sleep(0.1)
        with pytest.raises(CloudUnavailable, match="more than 1 s"):
            hosts(arm, Limits(total=1))


def test_nobody_at_the_endpoint_is_an_error() -> None:
    """A port where nothing listens is a network error with a hint."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        source = Azure(subscriptions=(SUBSCRIPTION,), endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(CloudUnavailable, match="way out"):
            AzureDiscoverer(source, SOON).hosts()


GARBAGE = [
    b"",
    b"<html>Welcome to the hotel's network",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b'{"data": {}, "totalRecords": 0, "count": 0, "resultTruncated": "false"}',
    b'{"data": [], "totalRecords": "many", "count": 0, "resultTruncated": "false"}',
    b'{"data": [1], "totalRecords": 1, "count": 1, "resultTruncated": "false"}',
    b'{"data": [{"subscriptionId": null}], "totalRecords": 1, "count": 1, "resultTruncated": "false"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:40]))
def test_nonsense_is_an_error(arm: FakeArm, body: bytes) -> None:
    """What is no answer of Resource Graph is never an empty fleet."""
    arm.failures.append(Failure(200, body=body))
    with pytest.raises(CloudUnavailable):
        hosts(arm)


def test_a_machine_with_nonsense_for_an_id_is_an_error(arm: FakeArm) -> None:
    """A server that cannot be told apart is not left out in silence."""
    machine, nic = Machine(name="web").resources()
    machine["properties"]["vmId"] = "none"
    arm.add(machine, nic)
    with pytest.raises(CloudUnavailable, match="'web' with the vmId 'none'"):
        hosts(arm)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"subscriptions": ()}, "names no subscription"),
        ({"subscriptions": ("Production",)}, "'Production' is no subscription"),
        ({"subscriptions": (SUBSCRIPTION[:-1],)}, "is no subscription"),
        ({"endpoint": "management.azure.com"}, "is no address"),
        ({"endpoint": "ftp://management.azure.com"}, "is no address"),
        ({"endpoint": "http://"}, "is no address"),
    ],
    ids=str,
)
def test_a_source_that_cannot_be_is_refused_at_once(arm: FakeArm, source: dict[str, Any], says: str) -> None:
    """What cannot be right in fleet.toml is said without asking Azure."""
    with pytest.raises(BadConfig, match=says):
        hosts(arm, **source)
    assert arm.asked == []


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


def test_no_sdk_is_loaded_before_hosts_are_asked_for() -> None:
    """Importing the module loads nothing of Azure's, which is large."""
    code = (
        "import sys, clarion_controller.discover.azure; print([n for n in sys.modules if n.split('.')[0] == 'azure'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["azure.mgmt.resourcegraph", "azure.identity"])
def test_without_the_sdk_the_hint_says_what_to_install(missing: str) -> None:
    """A controller without the extra says how to get it."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.fleet import Azure
AzureDiscoverer(Azure(subscriptions=({SUBSCRIPTION!r},), endpoint="https://127.0.0.1:1")).hosts()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "BadConfig: the SDK for Azure is not installed" in done.stderr
    assert "pip install 'clarion[azure]'" in done.stderr
