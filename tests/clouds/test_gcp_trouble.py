"""Compute Engine refuses, stumbles, talks nonsense or is silent: each told apart, none taken for "no servers"."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.clouds.fake_gce import HANG, PROJECT, Answer, FakeGce, error, fake_gce
from tests.clouds.gce_questions import HASTE, ask, names

from clarion_controller.discover.gcp import GcpDiscoverer, Patience
from clarion_controller.fleet_toml.fleet import Gcp
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

# Google warns of old Pythons when it is imported, which is when it is first asked.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:google")

FORBIDDEN = error(403, "forbidden", f"Required 'compute.instances.list' permission for 'projects/{PROJECT}'")
API_IS_OFF = error(
    403,
    "accessNotConfigured",
    "Compute Engine API has not been used in project 1111 before or it is disabled. Enable it by visiting ...",
    "SERVICE_DISABLED",
)
NO_SCOPE = error(
    403,
    "insufficientPermissions",
    "Request had insufficient authentication scopes.",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
)
BAD_TOKEN = error(401, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token")
BUSY = error(429, "rateLimitExceeded", "Quota exceeded for quota metric 'List requests'", "RATE_LIMIT_EXCEEDED")
BUSY_AS_403 = error(403, "rateLimitExceeded", "Rate Limit Exceeded")
DOWN = error(503, "backendError", "Internal error. Please try again or contact Google Support. (Code: '5F7E')")


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """Run a Compute Engine, and hold both sides to its document."""
    with fake_gce() as cloud:
        yield cloud
    assert cloud.complaints == []


@dataclass(frozen=True)
class Case:
    """What Google answers, and what is made of it: the error and words that help."""

    answers: list[Answer | str]
    error: type[ClarionError]
    words: tuple[str, ...]


CASES = {
    "no permission": Case([FORBIDDEN], CloudRefused, ("compute.instances.list", "roles/compute.viewer", PROJECT)),
    "the API is off": Case(
        [API_IS_OFF], CloudRefused, (f"services enable compute.googleapis.com --project {PROJECT}",)
    ),
    "the VM's access scopes are too small": Case([NO_SCOPE], CloudRefused, ("set-service-account",)),
    "no token where one is needed": Case([BAD_TOKEN] * 9, CloudRefused, ("gcloud auth application-default",)),
    "too many requests": Case([BUSY] * 9, CloudUnavailable, ("asked again later",)),
    "too many requests, as Compute Engine says it": Case([BUSY_AS_403] * 9, CloudUnavailable, ("patience",)),
    "503 again and again": Case([DOWN] * 9, CloudUnavailable, ("Internal error",)),
    "a gateway's 502": Case([Answer(502, b"<html>Bad Gateway</html>")] * 9, CloudUnavailable, ("Bad Gateway",)),
    "HTML with status 200": Case([Answer(200, b"<html>Welcome to the hotel</html>")], CloudUnavailable, ()),
    "an empty body": Case([Answer(200, b"")], CloudUnavailable, ()),
    "an empty object": Case([Answer(200, b"{}")], CloudUnavailable, ("no list of instances",)),
    "a list of something else": Case([Answer.of({"kind": "compute#diskList"})], CloudUnavailable, ("no list",)),
    "a JSON string": Case([Answer(200, b'"fine"')], CloudUnavailable, ()),
    "an error that is no error object": Case([Answer(403, b'{"error": "no"}')], CloudUnavailable, ()),
    "bytes that are no text": Case([Answer(200, b"\xff\xfe\x00")], CloudUnavailable, ()),
    "an instance without an id": Case(
        [Answer.of({"kind": "compute#instanceAggregatedList", "items": {"zones/z": {"instances": [{"name": "x"}]}}})],
        CloudUnavailable,
        ("without an id",),
    ),
    "no answer": Case([HANG] * 9, CloudUnavailable, ("asked again later",)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_trouble_has_one_sentence_and_the_next_command(gce: FakeGce, case: Case) -> None:
    """Each kind of trouble is told apart, and ends soon; none looks like a project without servers."""
    gce.add("web")
    gce.trouble = list(case.answers)
    begun = time.monotonic()
    with pytest.raises(case.error) as raised:
        ask(gce)
    assert time.monotonic() - begun < 15
    said = f"{raised.value.message} {raised.value.hint}"
    assert all(word in said for word in case.words), said
    assert "\n" not in said


@pytest.mark.parametrize(
    "answers", [[DOWN], [BUSY], [BUSY_AS_403], [Answer(502, b"")]], ids=["503", "429", "403", "502"]
)
def test_what_passes_is_asked_again_at_once(gce: FakeGce, answers: list[Answer | str]) -> None:
    """One hiccup does not become an error that blocks a deployment."""
    gce.add("web")
    gce.trouble = answers
    patient = GcpDiscoverer(Gcp(project=PROJECT, endpoint=gce.address), Patience(attempt=2, page=5, whole=5))
    assert names(patient.hosts()) == ["web"]
    assert len(gce.asked) == 2


def test_trouble_on_a_later_page_is_trouble(gce: FakeGce) -> None:
    """Half an answer is none."""
    gce.most = 1
    gce.add("first")
    gce.add("second")
    ask(gce)
    gce.trouble = [gce_page(gce), *[DOWN] * 9]
    with pytest.raises(CloudUnavailable):
        ask(gce)


def gce_page(gce: FakeGce) -> Answer:
    """Return a first page that says that there is a second."""
    zones = {"zones/europe-west1-b": {"instances": gce.instances[:1]}}
    return Answer.of({"kind": "compute#instanceAggregatedList", "items": zones, "nextPageToken": "1"})


def test_pages_without_end_have_an_end(gce: FakeGce) -> None:
    """A server that always names a next page does not keep the controller for ever."""
    gce.add("web")
    gce.trouble = [gce_page(gce)] * 100_000
    hasty = GcpDiscoverer(Gcp(project=PROJECT, endpoint=gce.address), Patience(attempt=1, page=1, whole=0.3))
    with pytest.raises(CloudUnavailable, match="too long"):
        hasty.hosts()


PARTIAL = {
    "the whole answer lists what is unreachable": {"unreachables": ["zones/europe-west1-c"]},
    "the whole answer warns": {"warning": {"code": "UNREACHABLE", "message": "zones/europe-west1-c is down"}},
    "a zone warns": {
        "items": {"zones/europe-west1-c": {"warning": {"code": "UNREACHABLE", "message": "it is unreachable"}}}
    },
}


@pytest.mark.parametrize("extras", PARTIAL.values(), ids=PARTIAL.keys())
def test_a_zone_that_google_cannot_reach_is_not_empty(gce: FakeGce, extras: dict[str, Any]) -> None:
    """An answer that is not whole is refused, wherever it says so; its hosts are not gone."""
    gce.add("web")
    gce.extras = extras
    with pytest.raises(CloudUnavailable, match="europe-west1-c"):
        ask(gce)


def test_an_unknown_project_is_the_file_s_fault(gce: FakeGce) -> None:
    """Google's 404 becomes the name that is wrong."""
    with pytest.raises(BadConfig, match="no project 'acme-prodution'") as raised:
        ask(gce, project="acme-prodution")
    assert "gcloud projects list" in str(raised.value.hint)


def test_an_unknown_zone_is_the_file_s_fault(gce: FakeGce) -> None:
    """A zone that does not exist is no zone without servers."""
    with pytest.raises(BadConfig, match="europe-west9-q"):
        ask(gce, zones=("europe-west9-q",))


def test_nobody_listens() -> None:
    """A refused connection is tried again for a while, and then told in few words."""
    with pytest.raises(CloudUnavailable, match=r"should: Connection refused"):
        GcpDiscoverer(Gcp(project=PROJECT, endpoint="http://127.0.0.1:9"), HASTE).hosts()
