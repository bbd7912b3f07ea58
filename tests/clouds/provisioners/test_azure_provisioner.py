"""Servers on Azure: the pipeline of Azure's own SDK, answered by a double of Resource Manager that checks strictly."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.clouds.arm_making import Answer, Json, refusal
from tests.clouds.fake_arm import SUBSCRIPTION, FakeArm
from tests.clouds.provisioners.orders import CLUSTER, NIGHT, OTHER, TOKEN, an_order
from tests.effort import examples

from clarion_controller.fleet_toml.fleet import Azure
from clarion_controller.fleet_toml.roles import AzureServer
from clarion_controller.provisioners.azure import AzureProvisioner
from clarion_controller.provisioners.azure_arm import Patience
from clarion_controller.provisioners.azure_like import azure_like
from clarion_controller.provisioners.marks import was_made_for
from clarion_controller.provisioners.provisioner import Machine
from clarion_protocol.errors import BadConfig, Blocked, ClarionError, CloudRefused, CloudUnavailable, ProvisionFailed

pytest.importorskip("azure.core", reason="needs azure-core: pip install 'clarion[azure]'")
HASTE = Patience(run=10, end=10, again=0.3, answer=5, pause=0.02)
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/prod"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/main/subnets/web"
ROLE = {
    "subscription": SUBSCRIPTION,
    "resource_group": "prod",
    "location": "westeurope",
    "image": "Debian:debian-12:12-gen2:latest",
    "size": "Standard_D2s_v5",
    "subnet": SUBNET,
    "admin_ssh_key": "ssh-ed25519 AAAA ops",
}


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    """Run a Resource Manager, and hold us to its ways."""
    with FakeArm() as cloud:
        yield cloud
    assert cloud.making.complaints == []


def provisioner(arm: FakeArm, **server: Any) -> AzureProvisioner:
    """Return what makes servers there."""
    return AzureProvisioner(AzureServer(**{**ROLE, "endpoint": arm.url, **server}), CLUSTER, HASTE)


def machines(arm: FakeArm) -> list[Json]:
    """Return the machines that there are."""
    return arm.making.of("virtualMachines")


def test_a_server_is_made_as_its_role_says(arm: FakeArm) -> None:
    """Image, size, subnet, key and tags are the role's; disk and interface go with the machine."""
    tags = {"role": "web", "clarion-cluster": OTHER, "clarion-run": NIGHT}
    machine = provisioner(arm, tags=tags).create(an_order())
    [made], [card] = machines(arm), arm.making.of("networkInterfaces")
    properties = made["properties"]
    assert machine == Machine("web-9", f"azure:{properties['vmId'].lower()}", "10.1.0.4")
    assert (made["name"], made["location"]) == ("web-9", "westeurope")
    assert properties["storageProfile"]["imageReference"]["sku"] == "12-gen2"
    assert properties["storageProfile"]["osDisk"]["deleteOption"] == "Delete"
    [taken] = properties["networkProfile"]["networkInterfaces"]
    assert taken == {"id": card["id"], "properties": {"primary": True, "deleteOption": "Delete"}}
    assert card["properties"]["ipConfigurations"][0]["properties"]["subnet"] == {"id": SUBNET}
    assert TOKEN.encode() in base64.b64decode(properties["osProfile"]["customData"])
    assert made["tags"].pop("clarion-attempt")
    assert made["tags"] == {"role": "web", "clarion-cluster": CLUSTER}


def test_one_delete_removes_machine_disk_and_interface_and_being_gone_is_fine(arm: FakeArm) -> None:
    """Removing twice, and removing what never was, change nothing."""
    machine = provisioner(arm).create(an_order())
    for _ in range(2):
        provisioner(arm).remove(machine)
        assert arm.making.resources == {}


def test_a_machine_that_has_the_name_by_now_is_another(arm: FakeArm) -> None:
    """What is removed is told by its number, never by its name."""
    gone = provisioner(arm).create(an_order())
    provisioner(arm).remove(gone)
    provisioner(arm).create(an_order())
    machines(arm)[0]["properties"]["vmId"] = "00000000-0000-0000-0000-000000000007"
    provisioner(arm).remove(gone)
    assert len(machines(arm)) == 1


def test_what_another_made_is_not_removed(arm: FakeArm) -> None:
    """The error says how a person would."""
    machine = provisioner(arm).create(an_order())
    with pytest.raises(CloudRefused, match="was not made by this cluster") as caught:
        replace(provisioner(arm), cluster=OTHER).remove(machine)
    assert f"az vm delete --subscription {SUBSCRIPTION} --resource-group prod --name web-9" in str(caught.value)


def test_a_name_that_is_taken_is_refused_before_anything_is_put(arm: FakeArm) -> None:
    """To put a machine of that name would change the one that there is."""
    provisioner(arm).create(an_order())
    before = msgspec.json.encode(arm.making.resources)
    with pytest.raises(Blocked, match="has a VM web-9 already"):
        provisioner(arm).create(an_order())
    assert msgspec.json.encode(arm.making.resources) == before


def test_the_console_is_the_log_of_the_serial_port_and_its_absence_is_no_error(arm: FakeArm) -> None:
    """It is asked for when something else is wrong already."""
    machine = provisioner(arm).create(an_order())
    assert provisioner(arm).console(machine) == "clarion: joins\n"
    assert provisioner(arm).console(Machine("x", "azure:0")) == ""
    arm.making.refusing["POST virtualMachines"] = [refusal(409, "BootDiagnosticsNotEnabled")]
    assert provisioner(arm).console(machine) == ""


@pytest.mark.parametrize("image", ["debian", "a:b:c", "a::c:d"])
def test_what_is_no_image_is_refused(arm: FakeArm, image: str) -> None:
    """Before anything is asked."""
    with pytest.raises(BadConfig, match="is no image of Azure"):
        provisioner(arm, image=image).create(an_order())
    assert arm.making.asked == []


MARKS = st.fixed_dictionaries(
    {},
    optional={
        "clarion-cluster": st.sampled_from([CLUSTER, OTHER, ""]),
        "clarion-run": st.sampled_from([NIGHT, "20261121-dead", ""]),
        "role": st.just("clarion-run"),
    },
)
EVERYTHING = [{"clarion-cluster": whose, "clarion-run": run} for whose in (CLUSTER, OTHER) for run in (NIGHT, "")]
KINDS = st.sampled_from(["Compute/virtualMachines", "Network/networkInterfaces"])


@settings(max_examples=examples(25))
@example(inventory=[("Compute/virtualMachines", marks) for marks in EVERYTHING])
@given(inventory=st.lists(st.tuples(KINDS, st.none() | MARKS), max_size=6))
def test_what_carries_the_mark_of_this_cluster_and_of_a_night_is_found_and_nothing_else(
    inventory: list[tuple[str, dict[str, str] | None]],
) -> None:
    """Machines, and interfaces whose machine was never made; what has no run, or is of others, is never looked at."""
    with FakeArm() as arm:
        for number, (kind, tags) in enumerate(inventory):
            id_ = f"{GROUP}/providers/Microsoft.{kind}/x{number}"
            properties: Json = {"networkProfile": {"networkInterfaces": []}} if "Compute" in kind else {}
            arm.making.resources[id_] = {"id": id_, "name": f"x{number}", "tags": tags, "properties": properties}
        tags_of = {id_: each["tags"] or {} for id_, each in arm.making.resources.items()}
        ours = {id_: tags for id_, tags in tags_of.items() if tags.get("clarion-cluster") == CLUSTER}
        found = provisioner(arm).found()
        wanted = {id_: tags["clarion-run"] for id_, tags in ours.items() if tags.get("clarion-run")}
        assert {each.key: each.run for each in found} == wanted
        assert not any(was_made_for(each.made_as, each.run) for each in found), "that is only written on it"
        for each in found:
            provisioner(arm).end(each)
        assert arm.making.resources.keys() == tags_of.keys() - wanted.keys()
        assert arm.making.complaints == []


def test_the_interface_of_a_machine_that_goes_on_is_not_found(arm: FakeArm) -> None:
    """Whatever its tags say: Azure would refuse, and the machine takes it along when it goes."""
    provisioner(arm).create(an_order())
    arm.making.of("networkInterfaces")[0]["tags"]["clarion-run"] = NIGHT
    assert provisioner(arm).found() == []


def test_a_crash_before_the_number_was_known_leaves_what_can_be_found_and_deleted(arm: FakeArm) -> None:
    """Tags and name are part of the request that makes a machine, so there is no moment without them."""
    made = provisioner(arm).create(an_order(run=NIGHT))
    [found] = provisioner(arm).found()
    assert (found.instance, found.run) == (made.instance, NIGHT)
    assert was_made_for(found.made_as, NIGHT)
    assert found.removal.endswith(f"--resource-group prod --name {found.name}")
    for _ in range(2):
        provisioner(arm).end(found)
        assert arm.making.resources == {}


def test_what_a_crash_between_interface_and_machine_leaves_is_found(arm: FakeArm) -> None:
    """Both carry the run from their first moment."""
    arm.making.refusing["PUT virtualMachines"] = [refusal(403, "AuthorizationFailed")]
    arm.making.refusing["DELETE networkInterfaces"] = [refusal(403, "AuthorizationFailed")]
    with pytest.raises(ProvisionFailed, match="could not be taken away") as caught:
        provisioner(arm).create(an_order(run=NIGHT))
    assert "Microsoft.Network/networkInterfaces/delete" in str(caught.value)
    assert len(arm.making.resources) == 1
    [found] = provisioner(arm).found()
    assert was_made_for(found.made_as, NIGHT)
    assert found.removal == f"az network nic delete --ids {found.key}"
    provisioner(arm).end(found)
    assert arm.making.resources == {}


JOIN = "Microsoft.Network/virtualNetworks/subnets/join/action"
FORBIDDEN = f"The client 'x' does not have authorization to perform action '{JOIN}' over scope 'y'"
REFUSALS: dict[str, tuple[Answer, type[ClarionError], str]] = {
    "no permission": (
        refusal(403, "AuthorizationFailed"),
        CloudRefused,
        "Microsoft.Compute/virtualMachines/write",
    ),
    "no permission for something else": (
        refusal(403, "LinkedAuthorizationFailed", FORBIDDEN),
        CloudRefused,
        JOIN,
    ),
    "a quota": (
        refusal(409, "OperationNotAllowed", "exceeding approved standardDSv5Family Cores quota"),
        CloudRefused,
        "standardDSv5Family",
    ),
    "a size that there is not": (refusal(409, "SkuNotAvailable"), CloudUnavailable, "no Standard_D2s_v5 free"),
    "no such image": (refusal(404, "PlatformImageNotFound", "12-gen3 is not found"), BadConfig, "12-gen3"),
    "throttling without end": (refusal(429, "TooManyRequests", "Slow."), CloudUnavailable, "patience"),
    "a policy": (refusal(403, "RequestDisallowedByPolicy", "Tag owner is missing"), CloudRefused, "owner is missing"),
    "another refusal": (refusal(409, "Strange", "As Azure says."), ProvisionFailed, "Strange As Azure says."),
    "a refusal without a code": (refusal(403, "", ""), CloudRefused, "Microsoft.Compute/virtualMachines/write"),
    "a fault of its own": (refusal(500, "InternalServerError"), CloudUnavailable, "fault of its own"),
    "a token that has expired": (refusal(401, "ExpiredAuthenticationToken"), CloudRefused, "credentials"),
}


@pytest.mark.parametrize(("answer", "kind", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_told_with_the_next_command_and_leaves_nothing(
    arm: FakeArm, answer: Answer, kind: type[ClarionError], words: str
) -> None:
    """Whose fault it is, by the kind of error; the interface that was made before is gone again."""
    arm.making.refusing["PUT virtualMachines"] = [answer] * 50
    with pytest.raises(kind) as caught:
        provisioner(arm).create(an_order())
    assert words in str(caught.value)
    assert caught.value.hint
    assert arm.making.resources == {}


FAILURES: dict[str, tuple[Json, type[ClarionError], str]] = {
    "no capacity": ({"code": "AllocationFailed", "message": "No."}, CloudUnavailable, "no Standard_D2s_v5 free"),
    "no capacity, told inside": (
        {"code": "BadRequest", "message": "No.", "details": [{"code": "ZonalAllocationFailed"}]},
        CloudUnavailable,
        "no Standard_D2s_v5 free",
    ),
    "something else": ({"code": "OSProvisioningTimedOut", "message": "It did not."}, ProvisionFailed, "It did not."),
}


@pytest.mark.parametrize(("failing", "kind", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_an_operation_that_fails_says_why_and_leaves_nothing(
    arm: FakeArm, failing: Json, kind: type[ClarionError], words: str
) -> None:
    """Azure takes the order first, and says only later that it cannot; what there is of the machine is deleted."""
    arm.making.failing = [failing]
    with pytest.raises(kind) as caught:
        provisioner(arm).create(an_order())
    assert words in str(caught.value)
    assert arm.making.resources == {}


def test_an_interface_that_azure_still_keeps_is_deleted_later(arm: FakeArm) -> None:
    """After a machine that was not made, its interface is reserved for three minutes."""
    arm.making.refusing["PUT virtualMachines"] = [refusal(409, "SkuNotAvailable")]
    arm.making.refusing["DELETE networkInterfaces"] = [refusal(400, "NicReservedForAnotherVm")] * 3
    with pytest.raises(CloudUnavailable, match="free"):
        provisioner(arm).create(an_order())
    assert arm.making.resources == {}


def test_a_busy_azure_is_asked_again_as_late_as_it_says(arm: FakeArm) -> None:
    """To put the same twice is to put it once; a connection that was cut counts as busy, too."""
    busy = refusal(429, "TooManyRequests", "Slow.", **{"Retry-After": "0"})
    arm.making.refusing["PUT networkInterfaces"] = [busy, None, busy]
    provisioner(arm).create(an_order())
    assert arm.making.asked.count("PUT networkInterfaces") == 4
    assert len(machines(arm)) == 1


def test_an_operation_that_never_ends_is_given_up_and_what_it_made_deleted(arm: FakeArm) -> None:
    """A create that timed out is still removed."""
    arm.making.polls = 200
    hasty = replace(provisioner(arm), patience=replace(HASTE, run=0.2, end=5, pause=0.001))
    with pytest.raises(CloudUnavailable, match="has not finished"):
        hasty.create(an_order())
    assert arm.making.resources == {}


def test_the_way_is_not_left_whatever_an_answer_says(arm: FakeArm) -> None:
    """The token would go with it."""
    arm.making.elsewhere = "http://127.0.0.1:9"
    with pytest.raises(ClarionError, match="leads to another address"):
        provisioner(arm).create(an_order())
    arm.making.resources.clear()


def test_a_copy_is_made_of_what_its_model_is_made_of(arm: FakeArm) -> None:
    """Size, image, subnet, key and tags; not the marks that are of itself."""
    model = provisioner(arm, tags={"role": "web"}).create(an_order())
    source = Azure(subscriptions=(SUBSCRIPTION,), endpoint=arm.url)
    assert azure_like(source, model.instance) == AzureServer(**ROLE, tags={"role": "web"}, endpoint=arm.url)
    assert azure_like(source, "azure:00000000-0000-0000-0000-000000000000") is None
    machines(arm)[0]["properties"]["osProfile"]["linuxConfiguration"]["ssh"] = None
    with pytest.raises(BadConfig, match="an SSH key"):
        azure_like(source, model.instance)
