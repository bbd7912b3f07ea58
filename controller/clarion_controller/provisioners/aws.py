"""Servers on EC2, made with `run_instances`.

- What is made says so from its first moment: its tags are part of the request that makes it.
- Whether an answer came or not, what an attempt has made is found by its tag and terminated if the attempt fails.
- EC2 forgets for seconds what it has just made: that an instance is not found yet proves nothing.
- Nothing is terminated unless its tags say that this cluster made it; what is known by its tags alone, only if the
  client token that it was made with says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clarion_controller.fleet_toml.roles import AwsServer
from clarion_controller.provisioners.aws_ec2 import Ec2, Instance, Patience, state_of, tags_of, token_of
from clarion_controller.provisioners.aws_said import is_refusal
from clarion_controller.provisioners.first_boot import Room, user_data
from clarion_controller.provisioners.marks import ATTEMPT, CLUSTER, is_ours, marked, new_attempt, run_of, with_mark
from clarion_controller.provisioners.provisioner import Found, Machine, ServerOrder
from clarion_controller.provisioners.taken_back import taken_back
from clarion_protocol.errors import ClarionError, CloudRefused

ROOM = Room("AWS", 16 * 1024, takes_gzip=True)
CONSOLE = 8_000  # characters


@dataclass(frozen=True)
class AwsProvisioner:
    """Makes EC2 instances like `server` for the cluster of that id."""

    server: AwsServer
    cluster: str
    patience: Patience = field(default_factory=Patience)

    def create(self, order: ServerOrder) -> Machine:
        """Make an instance and return when it runs; what was made is terminated again if it fails.

        Raises:
            BadConfig: boto3 is not installed, the role names what there is not, or its first boot is too long.
            CloudRefused: the credentials are missing or wrong, lack a permission, or a quota is used up.
            CloudUnavailable: AWS does not answer, asks for patience, or has no such server free now.
            ProvisionFailed: it was made, and ended by itself.
        """
        attempt = new_attempt()
        request = request_of(self.server, order, marked(self.server.tags, order, self.cluster, attempt))
        token, ec2 = with_mark(attempt, order.run), self._open()
        with taken_back(lambda: ec2.terminate(ec2.appeared(ATTEMPT, attempt, token)), unless=is_refusal):
            number = ec2.run(request | {"ClientToken": token})
        with taken_back(lambda: ec2.terminate([number])):
            instance = ec2.wait(number, "running", self.patience.run)
        return Machine(order.name, f"aws:{number}", str(instance.get("PrivateIpAddress", "")))

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Do nothing: names within a network of AWS are its own DNS's."""

    def console(self, machine: Machine) -> str:
        """Return the end of what the instance printed, which EC2 may have only minutes later; "" if it has not."""
        try:
            return self._open().console(number_of(machine))[-CONSOLE:]
        except ClarionError:  # that there is none must not hide why it was asked for
            return ""

    def remove(self, machine: Machine) -> None:
        """Terminate the instance; nothing happens if it is gone.

        Raises:
            CloudRefused: AWS forbids it, or the instance was not made by this cluster.
            CloudUnavailable: AWS does not answer, or the instance does not end.
        """
        ec2, number = self._open(), number_of(machine)
        instance = ec2.instance(number)
        if not instance or state_of(instance) == "terminated":
            return
        if not is_ours(tags_of(instance), self.cluster):
            hint = f"To end it all the same: '{removal(self.server, machine)}'."
            raise CloudRefused(f"the EC2 instance {number} was not made by this cluster", hint=hint)
        ec2.terminate([number])

    def found(self) -> list[Found]:
        """Return what carries this cluster's mark and a night's, and has not ended.

        Raises:
            ClarionError: as for `remove`.
        """
        tagged = self._open().tagged(CLUSTER, self.cluster)
        return [self._found(each) for each in tagged if run_of(tags_of(each), self.cluster)]

    def end(self, found: Found) -> None:
        """Terminate the instance; nothing happens if it is gone.

        Raises:
            ClarionError: as for `remove`.
        """
        self._open().terminate([found.key])

    def _found(self, instance: Instance) -> Found:
        number, tags = str(instance["InstanceId"]), tags_of(instance)
        machine = Machine(tags.get("Name", ""), f"aws:{number}")
        run, how = run_of(tags, self.cluster), removal(self.server, machine)
        return Found(machine.instance, machine.name, run, token_of(instance), number, how)

    def _open(self) -> Ec2:
        return Ec2.open(self.server, self.patience)


def request_of(server: AwsServer, order: ServerOrder, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return what `run_instances` is asked for.

    Raises:
        BadConfig: the first boot is too long for AWS.
    """
    listed = [{"Key": key, "Value": value} for key, value in {**tags, "Name": order.name}.items()]
    wanted = {
        "ImageId": server.image,
        "InstanceType": server.instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": user_data(order.name, order.first_boot, ROOM),
        "TagSpecifications": [{"ResourceType": kind, "Tags": listed} for kind in ("instance", "volume")],
        # Without version 1, a program that can be made to fetch an address does not fetch the instance's credentials.
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        # A server of one night ends for good when it is switched off; one that stays must not.
        "InstanceInitiatedShutdownBehavior": "terminate" if order.run else "stop",
        "SubnetId": server.subnet,
        "SecurityGroupIds": list(server.security_groups),
        "KeyName": server.key_name,
        "IamInstanceProfile": profile_of(server),
    }
    return {key: value for key, value in wanted.items() if value not in ("", [], {})}


def profile_of(server: AwsServer) -> dict[str, str]:
    """Return the instance profile as EC2 wants it, by name or by ARN."""
    if not server.iam_profile:
        return {}
    return {"Arn" if server.iam_profile.startswith("arn:") else "Name": server.iam_profile}


def number_of(machine: Machine) -> str:
    """Return the id of an instance as EC2 spells it."""
    return machine.instance.removeprefix("aws:")


def removal(server: AwsServer, machine: Machine) -> str:
    """Return the command with which a person ends the instance."""
    profile = f" --profile {server.profile}" if server.profile else ""
    return f"aws ec2 terminate-instances --instance-ids {number_of(machine)} --region {server.region}{profile}"
