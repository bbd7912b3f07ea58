"""What AzureDiscoverer makes of an Azure that refuses, throttles, lies or is silent: never a smaller fleet."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.clouds.fake_arm import CUT, HANG, SUBSCRIPTION, Failure, FakeArm, Machine, fleet_of

from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.discover.azure_graph import Limits
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Azure
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

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
        pytest.param({"data": [], "totalRecords": 0}, id="nothing, and a way to go on"),
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
    pytest.param(Failure(404, body=b"<html>Not found"), CloudUnavailable, "endpoint", id="no Azure at all"),
    pytest.param(Failure(409, "Conflict"), CloudUnavailable, "Conflict", id="what nobody foresaw"),
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
    assert {host.name for host in hosts(arm)} == {"web"}
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


@pytest.mark.parametrize("wait", ["nan", "inf", "-5", "soon", ""])
def test_a_wait_that_is_no_number_is_not_waited_for(arm: FakeArm, wait: str) -> None:
    """Nonsense in Retry-After is as if it were not there."""
    arm.failures.append(Failure(429, "RateLimiting", {"Retry-After": wait}))
    assert hosts(arm) == []


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
