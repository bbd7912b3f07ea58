"""Compute Engine, asked by Google's own SDK, answered by a double that is held to Google's own document."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.clouds.fake_gce import HANG, PROJECT, Answer, FakeGce, error, fake_gce

from clarion_controller.discover.gcp import GcpDiscoverer, Patience
from clarion_controller.discovered import Discovered
from clarion_controller.fleet import Gcp
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

pytest.importorskip("google.cloud.compute_v1")

# Google warns of old Pythons when it is imported, and its dependencies of each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:google"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

HASTE = Patience(attempt=0.5, page=0.2, whole=5)
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


def ask(gce: FakeGce, project: str = PROJECT, **source: Any) -> list[Discovered]:
    """Ask for the hosts of a source."""
    return GcpDiscoverer(Gcp(project=project, endpoint=gce.address, **source), HASTE).hosts()


def names(hosts: list[Discovered]) -> list[str]:
    """Return how they are called."""
    return [host.name for host in hosts]


def test_an_instance_is_described(gce: FakeGce) -> None:
    """Number, name, zone, labels, group, addresses and state become those of a host."""
    card = {"networkIP": "10.0.0.5", "accessConfigs": [{"natIP": "192.0.2.5"}]}
    card6 = {"networkIP": "10.1.0.5", "ipv6Address": "fd00::5", "ipv6AccessConfigs": [{"externalIpv6": "2001:db8::5"}]}
    gce.add("web-1", labels={"role": "web"}, networkInterfaces=[card, card6], metadata=made_by("zones/z", "web"))
    assert ask(gce) == [
        Discovered(
            name="web-1",
            source="gcp",
            instance="gcp:7000000000000000000",
            zone="europe-west1-b",
            state="RUNNING",
            groups=("web",),
            tags={"role": "web"},
            addresses=("10.0.0.5", "10.1.0.5", "fd00::5", "192.0.2.5", "2001:db8::5"),
        )
    ]


def made_by(place: str, group: str) -> dict[str, Any]:
    """Return the metadata that a managed instance group leaves."""
    value = f"projects/123456/{place}/instanceGroupManagers/{group}"
    return {"items": [{"key": "startup-script", "value": "#!/bin/sh"}, {"key": "created-by", "value": value}]}


def test_all_pages_are_read_and_the_order_is_always_the_same(gce: FakeGce) -> None:
    """However zones are shuffled and pages are cut, the hosts come in the order of their ids, each once."""
    gce.most = 7
    for number in range(50):
        gce.add(zone=gce.zones[number % 3])
    answers = [ask(gce) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert [host.instance for host in answers[0]] == [f"gcp:{machine['id']}" for machine in gce.instances]
    assert len(gce.asked) == 3 * 8


def test_google_itself_leaves_out_what_does_not_have_the_labels_and_states(gce: FakeGce) -> None:
    """The filter is sent, so that a big project does not send everything; it is one that Google documents."""
    gce.add("right", labels={"role": "web", "env": "production"})
    gce.add("stopped", labels={"role": "web", "env": "production"}, status="TERMINATED")
    gce.add("other", labels={"role": "web", "env": "test"})
    assert names(ask(gce, labels={"role": "web", "env": "production"}, states=("RUNNING", "STAGING"))) == ["right"]
    assert '(labels.role+=+"web")+AND+(labels.env+=+"production")+AND+((status' in gce.asked[0]
    assert "maxResults=500" in gce.asked[0]


def test_what_google_does_not_filter_is_filtered_here(gce: FakeGce) -> None:
    """An API that does not know the filter, or reads it otherwise, adds no host that nobody meant."""
    page = {"kind": "compute#instanceAggregatedList", "items": {"zones/z": {"instances": []}}}
    page["items"]["zones/z"]["instances"] = [gce.add("web"), gce.add("db", labels={"role": "db"})]  # type: ignore[index]
    gce.trouble = [Answer.of(page)]
    assert names(ask(gce, labels={"role": "web"})) == ["web"]


def test_a_label_with_an_empty_value_is_not_just_any_label(gce: FakeGce) -> None:
    """Google can only be asked whether the key is there; the value counts all the same."""
    gce.add("empty", labels={"canary": ""})
    gce.add("full", labels={"canary": "yes"})
    assert names(ask(gce, labels={"canary": ""})) == ["empty"]
    assert "(labels.canary:*)" in gce.asked[0]


def test_no_states_are_all_states(gce: FakeGce) -> None:
    """Who asks for no state in particular gets the stopped ones, too, and no empty filter is sent."""
    gce.add("stopped", status="TERMINATED")
    assert names(ask(gce, states=())) == ["stopped"]
    assert "filter" not in gce.asked[0]


def test_named_zones_are_listed_one_by_one(gce: FakeGce) -> None:
    """Only they are asked, so that a zone that is down elsewhere is nobody's trouble."""
    for zone in gce.zones:
        gce.add(f"in-{zone}", zone=zone)
    assert names(ask(gce, zones=("us-east1-b", "europe-west1-b"))) == ["in-europe-west1-b", "in-us-east1-b"]
    assert not any("aggregated" in address for address in gce.asked)


def test_members_of_managed_instance_groups_are_told_by_who_made_them(gce: FakeGce) -> None:
    """Zonal and regional groups are known by name; a name that only begins alike is another group."""
    gce.add("zonal", metadata=made_by("zones/europe-west1-b", "web"))
    gce.add("regional", metadata=made_by("regions/europe-west1", "web"))
    gce.add("other", metadata=made_by("zones/europe-west1-b", "web-2"))
    gce.add("alone")
    assert names(ask(gce, instance_groups=("web",))) == ["zonal", "regional"]


def test_an_empty_project_is_no_error(gce: FakeGce) -> None:
    """Zones that are empty come with a warning that says just that, and is none."""
    assert ask(gce) == []
    assert ask(gce, zones=("us-east1-b",)) == []


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
    "a token that Google does not take": Case([BAD_TOKEN] * 9, CloudRefused, ("gcloud auth application-default",)),
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


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a label's value with a quote": {"labels": {"role": 'web" OR name = "'}},
    "a label's value in capitals": {"labels": {"role": "Web"}},
    "a label's value of 64 characters": {"labels": {"role": "w" * 64}},
    "a label's key with a parenthesis": {"labels": {"role)": "web"}},
    "a label's key that begins with a digit": {"labels": {"1role": "web"}},
    "a label without a key": {"labels": {"": "web"}},
    "a state with an operator": {"states": ('RUNNING" OR status = "STOPPED',)},
    "a state in small letters": {"states": ("running",)},
    "a zone with a path": {"zones": ("zones/europe-west1-b",)},
    "a zone that climbs": {"zones": ("../global",)},
    "a project with a path": {"project": "acme/../other"},
    "no project": {"project": ""},
    "an endpoint of another kind": {"endpoint": "ftp://127.0.0.1"},
    "an endpoint with a path": {"endpoint": "http://127.0.0.1/compute"},
}


@pytest.mark.parametrize("wrong", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_is_not_asked(gce: FakeGce, wrong: dict[str, Any]) -> None:
    """A value that Google would not allow is refused before it becomes part of a filter or an address."""
    source = Gcp(**{"project": PROJECT, "endpoint": gce.address, **wrong})
    with pytest.raises(BadConfig):
        GcpDiscoverer(source, HASTE).hosts()
    assert gce.asked == []


def test_labels_may_be_of_any_script(gce: FakeGce) -> None:
    """Google allows lowercase letters of all scripts in labels."""
    gce.add("web", labels={"rolle": "größe"})
    assert names(ask(gce, labels={"rolle": "größe"})) == ["web"]


def test_credentials_never_travel_in_plain_text(gce: FakeGce, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An http:// endpoint is asked anonymously, even where there are credentials."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated(tmp_path, gce.address)))
    gce.add("web")
    assert names(ask(gce)) == ["web"]
    assert not any(name.lower() == "authorization" for headers in gce.headers for name in headers)


def federated(folder: Path, address: str) -> Path:
    """Return credentials as workload identity federation has them, whose tokens come from `address`."""
    (folder / "subject").write_text("a token of somebody else")
    path = folder / "credentials.json"
    content = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{address}/token",
        "credential_source": {"file": str(folder / "subject")},
    }
    path.write_text(json.dumps(content))
    return path


def ask_google() -> list[Discovered]:
    """Ask an endpoint over TLS where nobody listens: without a token, it is not even called."""
    return GcpDiscoverer(Gcp(project=PROJECT, endpoint="https://127.0.0.1:9"), HASTE).hosts()


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command is to log in."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(CloudRefused, match="no credentials") as raised:
        ask_google()
    assert "gcloud auth application-default login" in str(raised.value.hint)


def test_a_credentials_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the missing file is in the sentence."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(CloudRefused, match=r"/nowhere/key\.json"):
        ask_google()


def test_credentials_that_have_expired(gce: FakeGce, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever gives tokens refuses: the controller is not let in, and it says so."""
    gce.token = Answer.of({"error": "invalid_grant", "error_description": "ID Token expired"}, 400)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated(tmp_path, gce.address)))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    with pytest.raises(CloudRefused, match="expired"):
        ask_google()


def test_a_token_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The way is at fault, not the credentials."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated(tmp_path, "http://127.0.0.1:9")))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    with pytest.raises(CloudUnavailable):
        ask_google()


def test_nobody_listens() -> None:
    """A refused connection is tried again for a while, and then told."""
    with pytest.raises(CloudUnavailable):
        GcpDiscoverer(Gcp(project=PROJECT, endpoint="http://127.0.0.1:9"), HASTE).hosts()


def test_the_sdk_is_not_loaded_before_it_is_needed() -> None:
    """Nothing of Google's is in a process that only imports the discoverer."""
    program = (
        "import sys, clarion_controller.discover.gcp;"
        "sys.exit(any(name.split('.')[0] in ('google', 'requests') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the extra is told how."""
    monkeypatch.setitem(sys.modules, "google.cloud.compute_v1", None)
    monkeypatch.delattr("google.cloud.compute_v1", raising=False)
    with pytest.raises(BadConfig) as raised:
        GcpDiscoverer(Gcp(project=PROJECT)).hosts()
    assert "pip install 'clarion[gcp]'" in str(raised.value.hint)
