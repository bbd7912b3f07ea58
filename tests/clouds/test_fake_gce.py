"""The double of Compute Engine refuses what the real one would: else it would prove nothing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.clouds import gce_filter
from tests.clouds.discovery_document import compute
from tests.clouds.fake_gce import PROJECT, FakeGce, fake_gce

AGGREGATED = f"/compute/v1/projects/{PROJECT}/aggregated/instances"
IN_ZONE = f"/compute/v1/projects/{PROJECT}/zones/us-east1-b/instances"


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """Run a Compute Engine."""
    with fake_gce() as cloud:
        yield cloud


def get(gce: FakeGce, path: str, **query: str) -> tuple[int, Any]:
    """Return the status and the body of an answer."""
    try:
        with urllib.request.urlopen(f"{gce.address}{path}?{urlencode(query)}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "a parameter that is misspelled": (AGGREGATED, {"max_results": "5"}),
    "a parameter that the method does not have": (AGGREGATED, {"zone": "us-east1-b"}),
    "a number that is none": (AGGREGATED, {"maxResults": "many"}),
    "a number below the least": (AGGREGATED, {"maxResults": "-1"}),
    "a flag that is none": (AGGREGATED, {"includeAllScopes": "maybe"}),
    "a project that no project can be called": (AGGREGATED.replace(PROJECT, "Acme"), {}),
    "a method that there is not": ("/compute/v1/projects/p/aggregated/servers", {}),
    "a method that this double does not have": (f"/compute/v1/projects/{PROJECT}/zones/z/disks", {}),
    "a filter without quotes": (AGGREGATED, {"filter": "labels.role = web"}),
    "a filter on a field that is not filtered": (AGGREGATED, {"filter": 'zone = "us-east1-b"'}),
    "AND beside OR": (AGGREGATED, {"filter": 'name = "a" AND name = "b" OR name = "c"'}),
    "a parenthesis that is not closed": (AGGREGATED, {"filter": '(name = "a"'}),
    "a filter that ends early": (AGGREGATED, {"filter": 'name = "a" AND'}),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_that_the_document_does_not_allow_fails_loudly(
    gce: FakeGce, request_: tuple[str, dict[str, str]]
) -> None:
    """It is answered with an error, and remembered, so that no test passes over it."""
    gce.add()
    path, query = request_
    assert get(gce, path, **query)[0] == 400
    assert len(gce.complaints) == 1


BODIES: dict[str, dict[str, Any]] = {
    "a key that is misspelled": {"networkInterfaces": [{"networkIp": "10.0.0.1"}]},
    "a state that there is not": {"status": "ASLEEP"},
    "an id that is a number": {"id": 7},
    "an id that is no number": {"id": "seven"},
    "a label that is a number": {"labels": {"role": 1}},
    "labels that are a list": {"labels": ["web"]},
    "metadata that is a mapping": {"metadata": {"created-by": "me"}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_the_document_does_not_allow_is_not_sent(gce: FakeGce, body: dict[str, Any]) -> None:
    """A test cannot give the double an instance such as there never is."""
    gce.add(zone="us-east1-b", **body)
    for path in (AGGREGATED, IN_ZONE):
        assert get(gce, path)[0] == 400
    assert len(gce.complaints) == 2


def test_a_full_sized_instance_fits_the_document(gce: FakeGce) -> None:
    """What measurements are made with is real in all its parts."""
    gce.fill(3)
    status, body = get(gce, AGGREGATED)
    assert status == 200
    assert len(body["items"]["zones/us-east1-b"]["instances"]) == 1
    assert gce.complaints == []


def test_pages_together_are_everything(gce: FakeGce) -> None:
    """Each page says where the next begins, the last does not; an empty zone is a warning."""
    for _ in range(5):
        gce.add()
    first = get(gce, AGGREGATED, maxResults="3")[1]
    second = get(gce, AGGREGATED, maxResults="3", pageToken=first["nextPageToken"])[1]
    sizes = [len(page["items"]["zones/europe-west1-b"]["instances"]) for page in (first, second)]
    assert sizes == [3, 2]
    assert "nextPageToken" not in second
    assert first["items"]["zones/us-east1-b"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"


FILTERS = {
    'labels.role = "web"': True,
    'labels.role = "db"': False,
    'labels.nothing = ""': False,
    "labels.role:*": True,
    "labels.nothing:*": False,
    '(labels.role = "web") AND (status = "STOPPED")': False,
    '(labels.role = "db") OR (status = "RUNNING")': True,
    '((labels.role = "db") OR (name = "web-1")) AND ((status = "RUNNING") OR (status = "STAGING"))': True,
}


@pytest.mark.parametrize(("text", "expected"), FILTERS.items())
def test_filters_mean_what_the_reference_says(text: str, expected: bool) -> None:
    """Equality, presence, AND, OR and parentheses."""
    instance = {"name": "web-1", "status": "RUNNING", "labels": {"role": "web"}}
    assert gce_filter.parse(text)(instance) is expected


def test_the_document_is_the_official_one() -> None:
    """It names the method, its address and the type of its answer."""
    method, in_path = compute().method_for("GET", AGGREGATED)
    assert (method.name, method.response) == ("compute.instances.aggregatedList", "InstanceAggregatedList")
    assert in_path == {"project": PROJECT}
