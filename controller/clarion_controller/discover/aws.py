"""EC2 instances, as AWS lists them.

- All regions or nothing: an answer without one of them would look as if its servers were gone.
- Each page becomes hosts as it is read: as boto3 reads it, it is many times as large.
- Everything has an end: no page is asked for after `BEGIN_PAGES_S`, and one is tried for half a minute at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from sys import intern
from typing import Any

from clarion_controller.discover.aws_session import AwsSession, near, open_session
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Aws
from clarion_protocol.errors import BadConfig, CloudUnavailable
from clarion_protocol.words import is_instance

ACTION = "ec2:DescribeInstances"
GROUP_TAG = "aws:autoscaling:groupName"  # AWS sets it; nobody else can set tags that begin so
PAGE = 500
REGIONS_AT_ONCE = 8
BEGIN_PAGES_S = 25.0


@dataclass(frozen=True)
class AwsDiscoverer:
    """Lists the EC2 instances that a source of fleet.toml describes."""

    source: Aws

    def hosts(self) -> list[Discovered]:
        """Return the instances in the order of their ids.

        Raises:
            BadConfig: boto3 is not installed, or there is no such region or profile.
            CloudRefused: the credentials are missing, wrong or expired, or lack a permission.
            CloudUnavailable: a region does not answer, answers nonsense, or asks for patience.
        """
        session = open_session(self.source.profile, self.source.endpoint)
        clients = {region: session.client(region) for region in self._regions(session)}
        until = time.monotonic() + BEGIN_PAGES_S
        found: dict[str, Discovered] = {}
        with ThreadPoolExecutor(min(len(clients), REGIONS_AT_ONCE)) as pool:
            answers = {region: pool.submit(self._listed, client, until) for region, client in clients.items()}
            for region, answer in answers.items():
                with session.explained(region, ACTION):
                    found |= answer.result()
        return [found[instance] for instance in sorted(found)]

    def _regions(self, session: AwsSession) -> list[str]:
        """Return the regions to ask, each once.

        Raises:
            BadConfig: there is none, or one that nobody knows.
        """
        if not self.source.regions:
            raise BadConfig("an aws source of fleet.toml names no region", hint='Add regions = ["eu-west-1"] to it.')
        known = session.regions()
        for region in self.source.regions:
            if region not in known and not self.source.endpoint:
                hint = f"{near(region, known)} For one that is newer than this boto3, upgrade boto3."
                raise BadConfig(f"AWS has no region {region!r}", hint=hint)
        return list(dict.fromkeys(self.source.regions))

    def _listed(self, client: Any, until: float) -> dict[str, Discovered]:
        """Return the instances of one region by their ids; an instance that is on two pages counts once."""
        _check_time(client, until)
        found: dict[str, Discovered] = {}
        listing = client.get_paginator("describe_instances")
        for page in listing.paginate(Filters=self._filters(), PaginationConfig={"PageSize": PAGE}):
            found |= {host.instance: host for host in _hosts_on(page)}
            if page.get("NextToken"):
                _check_time(client, until)
        return found

    def _filters(self) -> list[dict[str, Any]]:
        """Return what EC2 is to leave out by itself."""
        filters: list[tuple[str, tuple[str, ...]]] = [
            (f"tag:{key}", (value,)) for key, value in self.source.tags.items()
        ]
        filters.append((f"tag:{GROUP_TAG}", self.source.autoscaling_groups))
        filters.append(("instance-state-name", self.source.states))
        return [{"Name": name, "Values": list(values)} for name, values in filters if values]


def _check_time(client: Any, until: float) -> None:
    if time.monotonic() > until:
        raise CloudUnavailable(
            f"AWS has more servers in {client.meta.region_name} than it lists in {BEGIN_PAGES_S:.0f} s",
            hint="Narrow the source down by tags in fleet.toml, or split it by regions. It is asked again later.",
        )


def _hosts_on(page: Mapping[str, Any]) -> Iterator[Discovered]:
    """Return the instances of one page.

    Raises:
        CloudUnavailable: it is no page of instances: whoever wrote it, it does not say that there are none.
    """
    if "Reservations" not in page:
        raise _not_ec2("no list of instances")
    for reservation in page["Reservations"]:
        yield from (_host(instance) for instance in reservation.get("Instances", ()))


def _host(instance: Mapping[str, Any]) -> Discovered:
    """Return one instance; its strings that most instances share are kept once."""
    number = instance.get("InstanceId", "")
    if not is_instance(f"aws:{number}"):
        raise _not_ec2("an instance without an id")
    tags = {intern(tag.get("Key", "")): intern(tag.get("Value", "")) for tag in instance.get("Tags", ())}
    addresses = (instance.get(key) for key in ("PrivateIpAddress", "PublicIpAddress", "Ipv6Address"))
    return Discovered(
        name=tags.get("Name") or number,
        source="aws",
        instance=f"aws:{number}",
        zone=intern(instance.get("Placement", {}).get("AvailabilityZone", "")),
        state=intern(instance.get("State", {}).get("Name", "")),
        groups=(tags[GROUP_TAG],) if GROUP_TAG in tags else (),
        tags=tags,
        addresses=tuple(address for address in addresses if address),
    )


def _not_ec2(what: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"what answers for EC2 says {what}",
        hint="A proxy in between, or the wrong endpoint in fleet.toml? It is asked again later.",
    )
