"""Servers on EC2: the real boto3 against moto, and against a loopback server for what moto cannot do."""

from __future__ import annotations

import base64
import gzip
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.clouds.fake_ec2 import Answer, Question, error, listening
from tests.clouds.provisioners.orders import CLUSTER, NIGHT, OTHER, TOKEN, an_order
from tests.effort import examples

from clarion_controller.fleet_toml.roles import AwsServer
from clarion_controller.provisioners.aws import AwsProvisioner
from clarion_controller.provisioners.aws_ec2 import Patience
from clarion_controller.provisioners.marks import was_made_for
from clarion_controller.provisioners.provisioner import Machine
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable, ProvisionFailed

boto3 = pytest.importorskip("boto3", reason="needs boto3: pip install 'clarion[aws]'")
REGION = "eu-west-1"
IMAGE = "ami-12c6146b"
HASTE = Patience(run=10, end=10, show=0.3, pause=0.05)


def provisioner(endpoint: str, **server: Any) -> AwsProvisioner:
    """Return what makes servers at `endpoint`."""
    wanted = {"region": REGION, "image": IMAGE, "instance_type": "t3.micro", "endpoint": endpoint, **server}
    return AwsProvisioner(AwsServer(**wanted), CLUSTER, HASTE)


def ec2(moto: str) -> Any:
    """Return a client with which tests look at what moto has."""
    return boto3.client("ec2", endpoint_url=moto, region_name=REGION)


def instances(moto: str) -> dict[str, dict[str, Any]]:
    """Return what moto has, by id."""
    found = ec2(moto).describe_instances()["Reservations"]
    return {each["InstanceId"]: each for one in found for each in one["Instances"]}


def alive(moto: str) -> set[str]:
    """Return the ids of what still costs money."""
    return {number for number, each in instances(moto).items() if each["State"]["Name"] == "running"}


def tags(instance: dict[str, Any]) -> dict[str, str]:
    """Return the tags of an instance."""
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def user_data(moto: str, machine: Machine) -> bytes:
    """Return what an instance finds at its first boot."""
    number = machine.instance.removeprefix("aws:")
    said = ec2(moto).describe_instance_attribute(InstanceId=number, Attribute="userData")
    return base64.b64decode(said["UserData"]["Value"])


def test_a_server_is_made_as_its_role_says(moto: str) -> None:
    """Image, type, network, groups and tags are the role's; the marks are ours, whatever the tags say."""
    client = ec2(moto)
    subnet = client.describe_subnets()["Subnets"][0]["SubnetId"]
    group = client.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    own = {"team": "shop", "Name": "x", "clarion-cluster": OTHER, "clarion-run": NIGHT}
    place = {"subnet": subnet, "security_groups": (group,), "key_name": "ops", "tags": own}
    machine = provisioner(moto, **place).create(an_order())
    [(number, made)] = instances(moto).items()
    assert machine == Machine("web-9", f"aws:{number}", made["PrivateIpAddress"])
    assert (made["ImageId"], made["InstanceType"], made["KeyName"]) == (IMAGE, "t3.micro", "ops")
    assert (made["SubnetId"], made["SecurityGroups"][0]["GroupId"]) == (subnet, group)
    assert made["MetadataOptions"]["HttpTokens"] == "required"
    found = tags(made)
    assert found.pop("clarion-attempt")
    assert found == {"Name": "web-9", "team": "shop", "clarion-cluster": CLUSTER}
    assert TOKEN.encode() in user_data(moto, machine)


def test_what_a_night_makes_carries_its_run_and_ends_when_it_is_switched_off(moto: str) -> None:
    """A server that stays carries none and survives being switched off: no sweep can take it for left."""
    night, stays = (provisioner(moto).create(an_order(run=run)) for run in (NIGHT, ""))
    made = instances(moto)
    runs = {machine.instance: tags(made[machine.instance[4:]]).get("clarion-run") for machine in (night, stays)}
    assert runs == {night.instance: NIGHT, stays.instance: None}
    for machine, wanted in ((night, "terminate"), (stays, "stop")):
        asked = {"InstanceId": machine.instance[4:], "Attribute": "instanceInitiatedShutdownBehavior"}
        assert ec2(moto).describe_instance_attribute(**asked)["InstanceInitiatedShutdownBehavior"]["Value"] == wanted


def test_a_first_boot_that_is_long_is_packed(moto: str) -> None:
    """AWS takes 16 KiB; cloud-init unpacks what is longer than that before it."""
    setup = "#!/bin/sh\n" + "echo one more line\n" * 2000
    machine = provisioner(moto).create(an_order(setup=setup))
    packed = user_data(moto, machine)
    assert len(packed) <= 16 * 1024
    assert base64.b64encode(setup.encode()) in gzip.decompress(packed)


def test_the_console_can_be_had_and_its_absence_is_no_error(moto: str) -> None:
    """It is asked for when something else is wrong already."""
    machine = provisioner(moto).create(an_order())
    assert "Linux version" in provisioner(moto).console(machine)
    assert provisioner(moto).console(Machine("web-9", "aws:i-0123456789abcdef0")) == ""
    assert provisioner("http://127.0.0.1:1").console(machine) == ""


def test_a_server_is_removed_once_and_being_gone_is_fine(moto: str) -> None:
    """Removing twice, and removing what never was, change nothing."""
    machine = provisioner(moto).create(an_order())
    for _ in range(2):
        provisioner(moto).remove(machine)
        assert alive(moto) == set()
    provisioner(moto).remove(Machine("web-9", "aws:i-0123456789abcdef0"))


def test_what_another_made_is_not_removed(moto: str) -> None:
    """An id that was mixed up ends nobody's server; the error says how a person would."""
    machine = provisioner(moto).create(an_order())
    other = replace(provisioner(moto), cluster=OTHER)
    with pytest.raises(CloudRefused, match="was not made by this cluster") as caught:
        other.remove(machine)
    assert f"aws ec2 terminate-instances --instance-ids {machine.instance[4:]} --region {REGION}" in str(caught.value)
    assert len(alive(moto)) == 1


MARKS = st.fixed_dictionaries(
    {},
    optional={
        "clarion-cluster": st.sampled_from([CLUSTER, OTHER, ""]),
        "clarion-run": st.sampled_from([NIGHT, "20261121-dead", ""]),
        "Name": st.sampled_from(["web-1", "clarion-run"]),
        "clarion": st.just("clarion-run"),
    },
)


EVERYTHING = [{"clarion-cluster": whose, "clarion-run": run} for whose in (CLUSTER, OTHER) for run in (NIGHT, "")]


@pytest.mark.timeout(300)
@settings(max_examples=examples(6))
@example(inventory=[*EVERYTHING, {"clarion-cluster": CLUSTER}, {}])
@given(inventory=st.lists(MARKS, min_size=1, max_size=6))
def test_what_carries_the_mark_of_this_cluster_and_of_a_night_is_found_and_nothing_else(
    moto_server: str, inventory: list[dict[str, str]]
) -> None:
    """Servers without a run, and of other clusters, are never even looked at."""
    urllib.request.urlopen(f"{moto_server}/moto-api/reset", data=b"", timeout=10).close()
    made = {_started(moto_server, marks): marks for marks in inventory}
    found = {each.key: each for each in provisioner(moto_server).found()}
    ours = {number for number, marks in made.items() if marks.get("clarion-cluster") == CLUSTER}
    assert found.keys() == {number for number in ours if made[number].get("clarion-run")}
    for number, each in found.items():
        assert (each.instance, each.run) == (f"aws:{number}", made[number]["clarion-run"])
        assert not was_made_for(each.made_as, each.run), "that is only written on it"


def _started(moto: str, marks: dict[str, str]) -> str:
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in marks.items()]}]
    answer = ec2(moto).run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, TagSpecifications=tagged if marks else [])
    return str(answer["Instances"][0]["InstanceId"])


def test_a_crash_before_the_id_was_known_leaves_what_can_be_found_and_ended(moto: str) -> None:
    """Tags and client token are part of the request that makes a server, so there is no moment without them."""
    made = provisioner(moto).create(an_order(run=NIGHT))  # and nobody remembers its id
    stays = provisioner(moto).create(an_order())
    [found] = provisioner(moto).found()
    assert (found.instance, found.name, found.run) == (made.instance, "web-9", NIGHT)
    assert was_made_for(found.made_as, NIGHT)
    assert found.removal == f"aws ec2 terminate-instances --instance-ids {found.key} --region {REGION}"
    for _ in range(2):
        provisioner(moto).end(found)
        assert alive(moto) == {stays.instance[4:]}
    assert provisioner(moto).found() == []


def test_a_tag_that_is_written_later_makes_no_server_one_of_a_night(moto: str) -> None:
    """What an instance was made with is not for those to change who may write tags."""
    stays = provisioner(moto).create(an_order())
    ec2(moto).create_tags(Resources=[stays.instance[4:]], Tags=[{"Key": "clarion-run", "Value": NIGHT}])
    [found] = provisioner(moto).found()
    assert (found.run, was_made_for(found.made_as, NIGHT)) == (NIGHT, False)


# With answers that moto does not give

Answering = Callable[[Question], Answer]
TROUBLES: dict[str, tuple[Answer, type[ClarionError], str]] = {
    "no permission": (
        error("UnauthorizedOperation", "You are not authorized to perform this operation.", 403),
        CloudRefused,
        "ec2:RunInstances",
    ),
    "no permission to pass the profile's role": (
        error("UnauthorizedOperation", "User: x is not authorized to perform: iam:PassRole on resource: y", 403),
        CloudRefused,
        "iam:PassRole",
    ),
    "no capacity": (error("InsufficientInstanceCapacity", status=500), CloudUnavailable, "no t3.micro free"),
    "a quota": (error("VcpuLimitExceeded", "You have requested more vCPU capacity than 32."), CloudRefused, "than 32"),
    "no such image": (error("InvalidAMIID.NotFound"), BadConfig, "describe-images --image-ids ami-12c6146b"),
    "no such subnet": (error("InvalidSubnetID.NotFound"), BadConfig, "describe-subnets"),
    "no such group": (error("InvalidGroup.NotFound"), BadConfig, "describe-security-groups"),
    "no such key": (error("InvalidKeyPair.NotFound"), BadConfig, "describe-key-pairs"),
    "no such profile": (error("NoSuchEntity"), BadConfig, "list-instance-profiles"),
    "a type that the zone has not": (error("Unsupported", "Not in eu-west-1c."), BadConfig, "Not in eu-west-1c"),
    "what nobody has foreseen": (error("InvalidBlockDevice", "As EC2 says."), BadConfig, "As EC2 says."),
    "throttling without end": (error("RequestLimitExceeded", status=503), CloudUnavailable, "Try again later"),
    "keys that have expired": (error("ExpiredToken"), CloudRefused, "expired"),
    "nonsense": (Answer(b"<html/>"), CloudUnavailable, "does not speak EC2's language"),
}


@pytest.mark.parametrize(("answer", "kind", "words"), TROUBLES.values(), ids=TROUBLES.keys())
def test_what_goes_wrong_is_told_with_the_next_command(answer: Answer, kind: type[ClarionError], words: str) -> None:
    """Whose fault it is, by the kind of error; the permission, the quota and the key of the role by name."""
    with listening(_cloud(run=answer)) as cloud, pytest.raises(kind) as caught:
        provisioner(cloud.endpoint).create(an_order())
    assert words in str(caught.value)
    assert caught.value.hint


def test_after_a_refusal_nothing_is_looked_for() -> None:
    """What AWS says that it has not made needs no other permission to be sure of."""
    with listening(_cloud(run=error("InvalidAMIID.NotFound"))) as cloud, pytest.raises(BadConfig):
        provisioner(cloud.endpoint).create(an_order())
    assert [question.fields["Action"] for question in cloud.asked] == ["RunInstances"]


def test_a_server_whose_answer_was_lost_is_found_and_ended() -> None:
    """It was made although nobody heard of it, and EC2 shows it only at the second look."""
    with listening(_cloud(run=Answer(b"", 500), states=["", "", "pending", "terminated"])) as cloud:
        with pytest.raises(CloudUnavailable):
            provisioner(cloud.endpoint).create(an_order())
        asked = [question.fields for question in cloud.asked]
    tokens = {fields["ClientToken"] for fields in asked if fields["Action"] == "RunInstances"}
    assert len(tokens) == 1  # attempts after the first cannot make a second server
    assert _values(asked, "RunInstances", "TagSpecification.1.Tag") & tokens
    assert [fields["InstanceId.1"] for fields in asked if fields["Action"] == "TerminateInstances"] == [NUMBER]


def test_what_only_carries_the_attempts_tag_is_not_ended_with_it() -> None:
    """Somebody may have copied the tag while the answer was waited for."""
    with listening(_cloud(run=Answer(b"", 500), states=["running"], token="another's")) as cloud:
        with pytest.raises(CloudUnavailable):
            provisioner(cloud.endpoint).create(an_order())
        assert "TerminateInstances" not in [question.fields["Action"] for question in cloud.asked]


@pytest.mark.parametrize("states", [["pending"], [""]], ids=["it stays pending", "it is never seen"])
def test_a_server_that_does_not_come_up_in_time_is_ended(states: list[str]) -> None:
    """Waiting has an end, and the server has one with it."""
    with listening(_cloud(states=states)) as cloud:
        hasty = replace(provisioner(cloud.endpoint), patience=replace(HASTE, run=0.3, end=0.3))
        with pytest.raises(ClarionError, match="not yet running"):
            hasty.create(an_order())
    assert "TerminateInstances" in [question.fields["Action"] for question in cloud.asked]


def test_a_server_that_ends_by_itself_says_why() -> None:
    """A volume's key that may not be used is only told in the reason for its end."""
    with listening(_cloud(states=["pending", "terminated"])) as cloud, pytest.raises(ProvisionFailed) as caught:
        provisioner(cloud.endpoint).create(an_order())
    assert "Client.InternalError" in str(caught.value)


def test_a_server_that_is_not_found_yet_is_waited_for() -> None:
    """EC2 may not know for seconds what it has just made."""
    with listening(_cloud(states=["NotFound", "NotFound", "", "pending", "running"])) as cloud:
        assert provisioner(cloud.endpoint).create(an_order()).instance == f"aws:{NUMBER}"


def test_what_can_neither_be_used_nor_ended_is_said_with_both_reasons() -> None:
    """Somebody has to look at it: it costs money."""
    denied = error("UnauthorizedOperation", "No.", 403)
    with (
        listening(_cloud(states=["pending", "stopped"], end=denied)) as cloud,
        pytest.raises(ProvisionFailed) as caught,
    ):
        provisioner(cloud.endpoint).create(an_order())
    assert "could not be taken away" in str(caught.value)
    assert "ec2:TerminateInstances" in str(caught.value)


NUMBER = "i-0abcdef1234567890"
RAN = f"<RunInstancesResponse><instancesSet><item><instanceId>{NUMBER}</instanceId></item></instancesSet>"


def _cloud(
    run: Answer | None = None, states: list[str] | None = None, end: Answer | None = None, token: str = ""
) -> Callable[[Question], Answer]:
    """Answer for one instance that goes through these states, one a look; "" is an empty list.

    It says that it was made with the token that was asked for, or with `token`.
    """
    given = [token]
    looks = iter(states or ["running"])
    last = (states or ["running"])[-1]
    ended: list[bool] = []

    def answer(question: Question) -> Answer:
        action = question.fields["Action"]
        if action == "RunInstances":
            given[0] = token or question.fields["ClientToken"]
            return run or _xml(f"{RAN}</RunInstancesResponse>")
        if action == "TerminateInstances":
            ended.append(True)
            return end or _xml("<TerminateInstancesResponse><instancesSet/></TerminateInstancesResponse>")
        state = next(looks, "terminated" if ended and not end else last)
        return error("InvalidInstanceID.NotFound") if state == "NotFound" else _xml(_description(state, given[0]))

    return answer


def _description(state: str, token: str) -> str:
    why = "<stateReason><code>Client.InternalError</code><message>Launch error</message></stateReason>"
    item = f"<item><instanceId>{NUMBER}</instanceId><instanceState><name>{state}</name></instanceState>{why}"
    item += f"<clientToken>{token}</clientToken></item>"
    there = f"<item><instancesSet>{item}</instancesSet></item>" if state else ""
    return f"<DescribeInstancesResponse><reservationSet>{there}</reservationSet></DescribeInstancesResponse>"


def _xml(body: str) -> Answer:
    return Answer(body.encode(), headers={"Content-Type": "text/xml;charset=UTF-8"})


def _values(asked: list[dict[str, str]], action: str, beginning: str) -> set[str]:
    return {
        value
        for fields in asked
        if fields["Action"] == action
        for key, value in fields.items()
        if key.startswith(beginning)
    }
