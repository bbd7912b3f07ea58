"""Compute Engine, asked by Google's own SDK, answered by a double that is held to Google's own document."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.clouds.fake_gce import PROJECT, Answer, FakeGce, fake_gce
from tests.clouds.gce_questions import HASTE, ask, names

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.gcp import GcpDiscoverer
from clarion_controller.fleet_toml.fleet import Gcp
from clarion_protocol.errors import BadConfig

# Google warns of old Pythons when it is imported, which is when it is first asked.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:google")


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """Run a Compute Engine, and hold both sides to its document."""
    with fake_gce() as cloud:
        yield cloud
    assert cloud.complaints == []


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
    gce.add("right")
    wrong: dict[str, dict[str, Any]] = {
        "stopped": {"status": "TERMINATED"},
        "db": {"labels": {"role": "db"}},
        "elsewhere": {"zone": "us-east1-b"},
    }
    for name, fields in wrong.items():
        gce.add(name, **fields)
    gce.trouble = [Answer.of({"kind": "compute#instanceList", "items": gce.instances})]
    assert names(ask(gce, labels={"role": "web"}, zones=("europe-west1-b",))) == ["right"]


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
    gce.add("odd", metadata=made_by("zones/europe-west1-b", "web/2"))
    gce.add("alone")
    assert names(ask(gce, instance_groups=("web",))) == ["zonal", "regional"]


def test_an_empty_project_is_no_error(gce: FakeGce) -> None:
    """Zones that are empty come with a warning that says just that, and is none."""
    assert ask(gce) == []
    assert ask(gce, zones=("us-east1-b",)) == []


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
