"""EC2 discovery: the real boto3 against moto, and against a loopback server for what moto cannot do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from clarion_controller.discover.aws import AwsDiscoverer
from clarion_controller.fleet import Aws

boto3 = pytest.importorskip("boto3", reason="needs boto3: pip install 'clarion[aws]'")
REGION = "eu-west-1"


def started(moto: str, count: int = 1, region: str = REGION, **tags: str) -> list[str]:
    """Start so many instances with tags; return their ids."""
    ec2 = boto3.client("ec2", endpoint_url=moto, region_name=region)
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]
    answer = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=count, MaxCount=count, TagSpecifications=tagged if tags else []
    )
    return [instance["InstanceId"] for instance in answer["Instances"]]


def listed(endpoint: str, **source: Any) -> list[str]:
    """Return the instances that a source lists."""
    hosts = AwsDiscoverer(Aws(**{"regions": (REGION,), "endpoint": endpoint, **source})).hosts()
    return [host.instance.removeprefix("aws:") for host in hosts]


def test_an_instance_is_described_whole(moto: str) -> None:
    """Its id, name, zone, state, tags and addresses are those that EC2 says."""
    [number] = started(moto, Name="web 1", role="web")
    [host] = AwsDiscoverer(Aws(regions=(REGION,), endpoint=moto)).hosts()
    assert (host.instance, host.name, host.source, host.state) == (f"aws:{number}", "web 1", "aws", "running")
    assert host.zone.startswith(REGION)
    assert dict(host.tags) == {"Name": "web 1", "role": "web"}
    assert host.addresses[0].startswith("10.")


def test_tags_choose_and_wildcards_match_as_in_ec2(moto: str) -> None:
    """All tags must fit; * and ? stand for letters."""
    web = started(moto, role="web-1", stage="live")
    started(moto, role="web-2")
    assert listed(moto, tags={"role": "web-?", "stage": "l*"}) == web


def test_boto3_is_loaded_only_when_hosts_are_asked_for() -> None:
    """Importing the provider loads no SDK."""
    code = "import sys, clarion_controller.discover.aws; sys.exit(bool({'boto3', 'botocore'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
