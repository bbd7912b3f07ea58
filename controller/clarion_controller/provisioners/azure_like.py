"""What a VM of Azure is made of, so that another can be made like it."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion_controller.fleet_toml.fleet import Azure
from clarion_controller.fleet_toml.roles import AzureServer
from clarion_controller.provisioners.azure import COMPUTE, NETWORK
from clarion_controller.provisioners.azure_arm import Arm, Json, Patience, open_arm
from clarion_controller.provisioners.marks import OURS
from clarion_protocol.errors import BadConfig


def azure_like(source: Azure, instance: str) -> AzureServer | None:
    """Return what the VM ("azure:" and its vmId) is made of; None if it is in no subscription of this source.

    Raises:
        BadConfig: Azure does not tell of what its disk was made, or nobody may log in with a key.
        CloudRefused, CloudUnavailable: as when servers are listed.
    """
    for subscription in source.subscriptions:
        unknown = AzureServer(
            subscription=subscription,
            resource_group="",
            location="",
            image="",
            size="",
            subnet="",
            admin_ssh_key="",
            endpoint=source.endpoint,
        )
        with open_arm(unknown, Patience()) as arm:
            found = _found(arm, subscription, instance)
            if found:
                return msgspec.structs.replace(unknown, **_made_of(arm, found))
    return None


def _found(arm: Arm, subscription: str, instance: str) -> Json | None:
    machines = arm.listed(f"/subscriptions/{subscription}/providers/Microsoft.Compute/virtualMachines", COMPUTE)
    return next((each for each in machines if f"azure:{each['properties']['vmId'].lower()}" == instance), None)


def _made_of(arm: Arm, machine: Json) -> dict[str, Any]:
    properties = machine["properties"]
    return {
        "resource_group": machine["id"].split("/")[4],
        "location": machine["location"],
        "image": _image(machine),
        "size": properties["hardwareProfile"]["vmSize"],
        "subnet": _subnet(arm, properties["networkProfile"]["networkInterfaces"]),
        "admin_ssh_key": _key(machine),
        "tags": {key: value for key, value in (machine.get("tags") or {}).items() if key not in OURS},
    }


def _image(machine: Json) -> str:
    said = machine["properties"]["storageProfile"].get("imageReference") or {}
    urn = [said.get(part, "") for part in ("publisher", "offer", "sku", "version")]
    image = said.get("id") or (":".join(urn) if all(urn) else "")
    if not image:
        raise _incomplete(machine, "of which image it was made")
    return str(image)


def _subnet(arm: Arm, cards: list[Json]) -> str:
    first = next((card for card in cards if card.get("properties", {}).get("primary")), cards[0])
    card = arm.get(first["id"], NETWORK) or {}
    return str(card["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"])


def _key(machine: Json) -> str:
    linux = machine["properties"].get("osProfile", {}).get("linuxConfiguration", {})
    keys = (linux.get("ssh") or {}).get("publicKeys") or []
    if not keys:
        raise _incomplete(machine, "an SSH key, which a new VM has to have")
    return str(keys[0]["keyData"])


def _incomplete(machine: Json, what: str) -> BadConfig:
    return BadConfig(
        f"Azure does not tell of the VM {machine['name']} {what}",
        hint="Write a [role.NAME] with its groups into fleet.toml, and add --role NAME.",
    )
