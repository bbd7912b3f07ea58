"""What a Compute Engine instance is made of, so that another can be made like it."""

from __future__ import annotations

import re
from typing import Any

from clarion_controller.fleet_toml.fleet import Gcp
from clarion_controller.fleet_toml.roles import GcpServer
from clarion_controller.provisioners.gcp_compute import Compute, Patience
from clarion_controller.provisioners.marks import OURS
from clarion_protocol.errors import BadConfig


def gcp_like(source: Gcp, instance: str, zone: str) -> GcpServer | None:
    """Return what the instance ("gcp:123") in this zone is made of; None if it is not in the source's project.

    Raises:
        BadConfig: its disk was made of no image, so that no other can be made like it.
        CloudRefused, CloudUnavailable: as when instances are listed.
    """
    if not zone or (source.zones and zone not in source.zones):
        return None
    unknown = GcpServer(project=source.project, zone=zone, image="", machine_type="", endpoint=source.endpoint)
    compute = Compute.open(unknown, Patience())
    found = compute.instance(instance.removeprefix("gcp:"))
    return _made_of(source, zone, found, compute) if found else None


def _made_of(source: Gcp, zone: str, found: Any, compute: Compute) -> GcpServer:
    image = _short(compute.boot_image(found))
    if not image:
        raise BadConfig(
            f"the disk of {found.name} was made of no image",
            hint="Write a [role.NAME] with its groups and an image into fleet.toml, and add --role NAME.",
        )
    card = found.network_interfaces[0]
    return GcpServer(
        project=source.project,
        zone=zone,
        image=image,
        machine_type=found.machine_type.rpartition("/")[2],
        network=_short(card.network),
        subnetwork=_short(card.subnetwork),
        service_account=next((account.email for account in found.service_accounts), ""),
        labels={key: value for key, value in found.labels.items() if is_copied(key)},
        endpoint=source.endpoint,
    )


def is_copied(label: str) -> bool:
    """Return whether another instance may have the same label: not what Google or we set."""
    return not label.startswith("goog-") and label not in OURS


def _short(address: str) -> str:
    """Return a resource's path within Compute Engine: whoever answers at the endpoint is known already."""
    return re.sub(r"^https?://[^/]+/compute/v1/", "", address)
