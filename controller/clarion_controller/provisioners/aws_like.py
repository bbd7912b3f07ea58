"""What an EC2 instance is made of, so that another can be made like it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from clarion_controller.fleet_toml.fleet import Aws
from clarion_controller.fleet_toml.roles import AwsServer
from clarion_controller.provisioners.aws_ec2 import Ec2, Patience, tags_of
from clarion_controller.provisioners.marks import OURS


def aws_like(source: Aws, instance: str, zone: str) -> AwsServer | None:
    """Return what the instance ("aws:i-...") is made of; None if it is not in a region of this source.

    Raises:
        BadConfig, CloudRefused, CloudUnavailable: as when instances are listed.
    """
    for region in _regions(source, zone):
        unknown = AwsServer(region=region, image="", instance_type="", profile=source.profile, endpoint=source.endpoint)
        found = Ec2.open(unknown, Patience()).instance(instance.removeprefix("aws:"))
        if found:
            return msgspec.structs.replace(unknown, **_made_of(found))
    return None


def _regions(source: Aws, zone: str) -> Iterator[str]:
    """Return the regions to look in: the zone's own, or all where nobody knows the zone."""
    return (region for region in source.regions if not zone or zone.startswith(region))


def _made_of(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "image": instance["ImageId"],
        "instance_type": instance["InstanceType"],
        "subnet": instance.get("SubnetId", ""),
        "security_groups": tuple(group["GroupId"] for group in instance.get("SecurityGroups", ())),
        "key_name": instance.get("KeyName", ""),
        "iam_profile": instance.get("IamInstanceProfile", {}).get("Arn", ""),
        "tags": {key: value for key, value in tags_of(instance).items() if is_copied(key)},
    }


def is_copied(tag: str) -> bool:
    """Return whether another server may have the same tag: not what AWS or we set, nor its name."""
    return not tag.startswith("aws:") and tag != "Name" and tag not in OURS
