"""Servers on Compute Engine: Google's own SDK, answered by a double that is held to Google's own document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.clouds.fake_gce import PROJECT, Answer, FakeGce, error, fake_gce
from tests.clouds.provisioners.orders import CLUSTER, NIGHT, OTHER, TOKEN, an_order
from tests.effort import examples

from clarion_controller.fleet_toml.fleet import Gcp
from clarion_controller.fleet_toml.roles import GcpServer
from clarion_controller.provisioners.gcp import GcpProvisioner
from clarion_controller.provisioners.gcp_compute import Patience
from clarion_controller.provisioners.gcp_like import gcp_like
from clarion_controller.provisioners.marks import was_made_for
from clarion_controller.provisioners.provisioner import Machine
from clarion_protocol.errors import BadConfig, Blocked, ClarionError, CloudRefused, CloudUnavailable, ProvisionFailed

# Google warns of old Pythons when it is imported, which is when it is first asked.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:google")
ZONE = "europe-west1-b"
HASTE = Patience(run=10, end=10, answer=5, again=1.5, show=0.3, pause=0.02)


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """Run a Compute Engine, and hold both sides to its document."""
    with fake_gce() as cloud:
        yield cloud
    assert cloud.complaints == []


def provisioner(gce: FakeGce, **server: Any) -> GcpProvisioner:
    """Return what makes servers there."""
    wanted = {"project": PROJECT, "zone": ZONE, "image": "web-v7", "machine_type": "e2-small", **server}
    return GcpProvisioner(GcpServer(**wanted, endpoint=gce.address), CLUSTER, HASTE)


def test_a_server_is_made_as_its_role_says(gce: FakeGce) -> None:
    """Image, type, network, account and labels are the role's; the marks are ours, whatever the labels say."""
    role = {
        "subnetwork": "web",
        "service_account": "web@acme.iam.gserviceaccount.com",
        "labels": {"role": "web", "clarion-cluster": OTHER, "clarion-run": NIGHT},
    }
    machine = provisioner(gce, **role).create(an_order())
    [made] = gce.instances
    assert machine == Machine("web-9", f"gcp:{made['id']}", made["networkInterfaces"][0]["networkIP"])
    assert (made["name"], made["machineType"]) == ("web-9", f"zones/{ZONE}/machineTypes/e2-small")
    [disk] = made["disks"]
    assert disk["initializeParams"] == {"sourceImage": "global/images/web-v7"}
    assert disk["autoDelete"] is True
    assert made["networkInterfaces"][0]["subnetwork"] == "regions/europe-west1/subnetworks/web"
    assert made["serviceAccounts"][0]["email"] == "web@acme.iam.gserviceaccount.com"
    assert made["labels"].pop("clarion-attempt")
    assert made["labels"] == {"role": "web", "clarion-cluster": CLUSTER}
    [item] = made["metadata"]["items"]
    assert item["key"] == "startup-script"
    assert TOKEN in item["value"]


def test_what_is_for_a_night_never_takes_the_name_of_a_server_that_stays(gce: FakeGce) -> None:
    """Names are taken once in a project and zone, and web-9 may be in production."""
    stays, night = (provisioner(gce).create(an_order(run=run)) for run in ("", NIGHT))
    assert [made["name"] for made in gce.instances] == ["web-9", "web-9-202611220a1b"]
    assert stays.name == night.name == "web-9"


def test_a_server_is_removed_once_and_being_gone_is_fine(gce: FakeGce) -> None:
    """Removing twice, and removing what never was, change nothing."""
    machine = provisioner(gce).create(an_order())
    for _ in range(2):
        provisioner(gce).remove(machine)
        assert gce.instances == []


def test_what_another_made_is_not_removed(gce: FakeGce) -> None:
    """A number that was mixed up deletes nobody's server; the error says how a person would."""
    machine = provisioner(gce).create(an_order())
    with pytest.raises(CloudRefused, match="was not made by this cluster") as caught:
        replace(provisioner(gce), cluster=OTHER).remove(machine)
    assert f"gcloud compute instances delete web-9 --project {PROJECT} --zone {ZONE}" in str(caught.value)
    assert len(gce.instances) == 1


def test_the_console_is_the_serial_port_and_its_absence_is_no_error(gce: FakeGce) -> None:
    """It is asked for when something else is wrong already."""
    machine = provisioner(gce).create(an_order())
    assert provisioner(gce).console(machine).endswith("clarion: joins\n")
    assert provisioner(gce).console(Machine("x", "gcp:1")) == ""


def test_a_name_that_google_has_not_is_refused_before_anything_is_asked(gce: FakeGce) -> None:
    """A host may be called web.9; an instance may not."""
    with pytest.raises(BadConfig, match=r"no instances called web\.9"):
        provisioner(gce).create(an_order("web.9"))
    assert gce.asked == []


MARKS = st.fixed_dictionaries(
    {},
    optional={
        "clarion-cluster": st.sampled_from([CLUSTER, OTHER, ""]),
        "clarion-run": st.sampled_from([NIGHT, "20261121-dead", ""]),
        "role": st.just("clarion-run"),
    },
)


EVERYTHING = [{"clarion-cluster": whose, "clarion-run": run} for whose in (CLUSTER, OTHER) for run in (NIGHT, "")]


@settings(max_examples=examples(15))
@example(inventory=[*EVERYTHING, {"clarion-cluster": CLUSTER}, {}])
@given(inventory=st.lists(MARKS, max_size=6))
def test_what_carries_the_mark_of_this_cluster_and_of_a_night_is_found_and_nothing_else(
    inventory: list[dict[str, str]],
) -> None:
    """Servers without a run, and of other clusters, are never even looked at."""
    with fake_gce() as gce:
        for labels in inventory:
            gce.add(labels=labels)
        ours = [each for each in gce.instances if each["labels"].get("clarion-cluster") == CLUSTER]
        wanted = {each["id"]: each["labels"]["clarion-run"] for each in ours if each["labels"].get("clarion-run")}
        found = provisioner(gce).found()
        assert {each.key: each.run for each in found} == wanted
        assert not any(was_made_for(each.made_as, each.run) for each in found), "that is only written on it"
        assert gce.complaints == []


REFUSALS: dict[str, tuple[Answer, type[ClarionError], str]] = {
    "no permission": (
        error(403, "forbidden", "Required 'compute.instances.create' permission for 'projects/x'"),
        CloudRefused,
        "compute.instances.create",
    ),
    "no permission to use the service account": (
        error(403, "forbidden", "The user lacks iam.serviceAccounts.actAs on it"),
        CloudRefused,
        "iam.serviceAccounts.actAs",
    ),
    "a quota": (error(403, "quotaExceeded", "Quota 'CPUS' exceeded. Limit: 24.0"), CloudRefused, "Limit: 24.0"),
    "a name that is taken": (error(409, "alreadyExists", "It exists"), Blocked, "of that name"),
    "no such image": (error(404, "notFound", "The resource 'images/web-v7' was not found"), BadConfig, "web-v7"),
    "throttling without end": (error(429, "rateLimitExceeded", "Slow down"), CloudUnavailable, "Try again later"),
    "a fault of its own": (error(503, "backendError", "Backend Error"), CloudUnavailable, "Try again later"),
    "credentials that are not accepted": (error(401, "authError", "Invalid Credentials"), CloudRefused, "credentials"),
}


@pytest.mark.parametrize(("answer", "kind", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_told_with_the_next_command(
    gce: FakeGce, answer: Answer, kind: type[ClarionError], words: str
) -> None:
    """Whose fault it is, by the kind of error; the permission and the quota by name."""
    gce.trouble_with["compute.instances.insert"] = [answer] * 20
    with pytest.raises(kind) as caught:
        provisioner(gce).create(an_order())
    assert words in str(caught.value)
    assert caught.value.hint
    assert gce.instances == []


FAILURES: dict[str, tuple[tuple[str, str], type[ClarionError], str]] = {
    "no capacity": (("ZONE_RESOURCE_POOL_EXHAUSTED", "No resources"), CloudUnavailable, "no e2-small free"),
    "a quota": (("QUOTA_EXCEEDED", "Quota 'SSD_TOTAL_GB' exceeded"), CloudRefused, "SSD_TOTAL_GB"),
    "something else": (("INTERNAL_ERROR", "Internal error"), ProvisionFailed, "INTERNAL_ERROR Internal error"),
}


@pytest.mark.parametrize(("failing", "kind", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_an_operation_that_fails_says_why_and_leaves_nothing(
    gce: FakeGce, failing: tuple[str, str], kind: type[ClarionError], words: str
) -> None:
    """Google takes the order first, and says only later that it cannot."""
    gce.making.failing = [failing]
    with pytest.raises(kind) as caught:
        provisioner(gce).create(an_order())
    assert words in str(caught.value)
    assert gce.instances == []


def test_a_busy_google_is_asked_again_and_makes_one_server(gce: FakeGce) -> None:
    """The request has an id, so that the second one is the first."""
    gce.trouble_with["compute.instances.insert"] = [error(503, "backendError", "Backend Error")]
    replace(provisioner(gce), patience=replace(HASTE, answer=10, again=25)).create(an_order())
    inserts = [address for address in gce.asked if "requestId=" in address and address.count("/") < 9]
    assert len(gce.instances) == 1
    assert len({address.partition("requestId=")[2] for address in inserts}) == 1


@pytest.mark.parametrize("comes_up", ["PROVISIONING", "TERMINATED"], ids=["it stays as it is", "it ends by itself"])
def test_a_server_that_does_not_come_up_is_deleted(gce: FakeGce, comes_up: str) -> None:
    """Waiting has an end, and the server has one with it."""
    gce.making.comes_up = comes_up
    with pytest.raises(ClarionError, match=comes_up):
        replace(provisioner(gce), patience=replace(HASTE, run=0.3)).create(an_order())
    assert gce.instances == []


def test_an_operation_that_never_ends_is_given_up_and_what_it_made_deleted(gce: FakeGce) -> None:
    """A create that timed out is still removed."""
    gce.making.polls = 8
    with pytest.raises(CloudUnavailable, match="has not finished"):
        replace(provisioner(gce), patience=replace(HASTE, run=0.05, pause=0.02)).create(an_order())
    assert gce.instances == []


def test_who_has_the_name_already_is_not_deleted_for_it(gce: FakeGce) -> None:
    """Not even when Google's answer is lost, and all that is known is the name."""
    gce.add("web-9", labels={"clarion-cluster": CLUSTER})
    gce.trouble_with["compute.instances.insert"] = [error(503, "backendError", "Backend Error")] * 20
    with pytest.raises(CloudUnavailable):
        provisioner(gce).create(an_order())
    assert [each["name"] for each in gce.instances] == ["web-9"]


def test_a_crash_before_the_number_was_known_leaves_what_can_be_found_and_deleted(gce: FakeGce) -> None:
    """Labels and name are part of the request that makes a server, so there is no moment without them."""
    made = provisioner(gce).create(an_order(run=NIGHT))  # and nobody remembers its number
    provisioner(gce).create(an_order())
    [found] = provisioner(gce).found()
    assert (found.instance, found.run) == (made.instance, NIGHT)
    assert was_made_for(found.made_as, NIGHT)
    assert found.removal == f"gcloud compute instances delete {found.name} --project {PROJECT} --zone {ZONE}"
    for _ in range(2):
        provisioner(gce).end(found)
        assert [each["name"] for each in gce.instances] == ["web-9"]


def test_a_copy_is_made_of_what_its_model_is_made_of(gce: FakeGce) -> None:
    """The image is the one of its boot disk; its name, and labels that are of itself, are not copied."""
    account = "web@acme.iam.gserviceaccount.com"
    labels = {"role": "web", "goog-ops-agent": "x", "clarion-attempt": "y", "clarion-run": "z"}
    model = provisioner(gce, subnetwork="web", service_account=account).create(an_order())
    gce.instances[0]["labels"] = labels
    found = gcp_like(Gcp(project=PROJECT, endpoint=gce.address), model.instance, ZONE)
    assert found == GcpServer(
        project=PROJECT,
        zone=ZONE,
        image="projects/debian-cloud/global/images/debian-12-v1",
        machine_type="e2-small",
        subnetwork="regions/europe-west1/subnetworks/web",
        service_account=account,
        labels={"role": "web"},
        endpoint=gce.address,
    )
    assert gcp_like(Gcp(project=PROJECT, endpoint=gce.address), "gcp:1", ZONE) is None
    assert gcp_like(Gcp(project=PROJECT, endpoint=gce.address), model.instance, "") is None
