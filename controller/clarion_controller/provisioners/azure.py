"""Servers on Azure: a network interface, and a virtual machine that takes it and its disk along when it goes.

- Both carry their marks from their first moment: tags are part of the request that makes them.
- To put a resource of a name that is taken would change it. So a machine's name is asked for first, and put only if
  there is none; the interface has the attempt in its name.
- Nothing is deleted unless its tags say that this cluster made it; what is known by its tags alone, only if the name
  that it was made with says the same.

This was built against Azure's documentation, without an account.
"""

from __future__ import annotations

import base64
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clarion_controller.fleet_toml.roles import AzureServer
from clarion_controller.provisioners.azure_arm import Arm, Json, Patience, is_error, is_refusal, open_arm
from clarion_controller.provisioners.azure_console import serial_log
from clarion_controller.provisioners.first_boot import Room, user_data
from clarion_controller.provisioners.marks import (
    ATTEMPT,
    is_ours,
    marked,
    name_in_cloud,
    new_attempt,
    run_of,
)
from clarion_controller.provisioners.provisioner import Found, Machine, ServerOrder
from clarion_controller.provisioners.taken_back import taken_back
from clarion_protocol.errors import BadConfig, Blocked, ClarionError, CloudRefused

ROOM = Room("Azure", 65_535, takes_gzip=True)
CONSOLE = 8_000  # characters
COMPUTE, NETWORK = "2024-07-01", "2024-05-01"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?\Z")
_ADMIN = "clarion"


@dataclass(frozen=True)
class AzureProvisioner:
    """Makes Azure VMs like `server` for the cluster of that id."""

    server: AzureServer
    cluster: str
    patience: Patience = field(default_factory=Patience)

    def create(self, order: ServerOrder) -> Machine:
        """Make a VM and return when Azure has started it; what was made is deleted again if it fails.

        Raises:
            BadConfig: the SDK is not installed, the role names what there is not, or its first boot is too long.
            Blocked: the resource group has a VM of that name.
            CloudRefused: the credentials are missing or wrong, lack a permission, or a quota is used up.
            CloudUnavailable: Azure does not answer, takes too long, or has no such server free now.
            ProvisionFailed: it could not be made.
        """
        attempt, name = new_attempt(), _name_of(order)
        tags = marked(self.server.tags, order, self.cluster, attempt)
        boot = user_data(order.name, order.first_boot, ROOM)
        card_path, path = self._card(f"{name}-{attempt[:8]}"), self._machine(name)
        wanted = machine_of(self.server, name, boot, card_path) | {"tags": tags}
        with open_arm(self.server, self.patience) as arm:
            if arm.get(path, COMPUTE) is not None:
                hint = f"Choose another name, or see 'az vm show --resource-group {self.server.resource_group}'."
                raise Blocked(f"{self.server.resource_group} has a VM {name} already", hint=hint)
            with taken_back(lambda: _delete_card(arm, card_path), unless=is_refusal):
                card = arm.put(card_path, NETWORK, card_of(self.server, tags))
            with taken_back(lambda: _take_back(arm, path, card_path, attempt)):
                made = arm.put(path, COMPUTE, wanted, **{"If-None-Match": "*"})
        return Machine(order.name, f"azure:{_number_of(made)}", _address_of(card))

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Do nothing: names within a network of Azure's are its own DNS's."""

    def console(self, machine: Machine) -> str:
        """Return the end of what the VM wrote to its serial port; "" if that cannot be had."""
        try:
            with open_arm(self.server, self.patience) as arm:
                found = self._found(arm, machine)
                return serial_log(arm.post(f"{found['id']}/retrieveBootDiagnosticsData", COMPUTE))[-CONSOLE:]
        except (ClarionError, LookupError):  # that there is none must not hide why it was asked for
            return ""

    def remove(self, machine: Machine) -> None:
        """Delete the VM, with its disk and network interface; nothing happens if it is gone.

        Raises:
            CloudRefused: Azure forbids it, or the VM was not made by this cluster.
            CloudUnavailable: Azure does not answer, or takes too long.
        """
        with open_arm(self.server, self.patience) as arm:
            found = self._found(arm, machine)
            if not found:
                return
            if not is_ours(_tags(found), self.cluster):
                hint = f"To delete it all the same: '{removal(self.server, machine)}'."
                raise CloudRefused(f"the VM {found['name']} was not made by this cluster", hint=hint)
            arm.delete(found["id"], COMPUTE)

    def found(self) -> list[Found]:
        """Return what carries this cluster's mark and a night's: VMs, and interfaces that no VM takes along.

        Raises:
            ClarionError: as for `remove`.
        """
        with open_arm(self.server, self.patience) as arm:
            machines = list(self._marked(arm, self._machine(""), COMPUTE))
            cards = [each for each in self._marked(arm, self._card(""), NETWORK) if not _is_taken(each)]
        return [*map(self._found_machine, machines), *map(self._found_card, cards)]

    def end(self, found: Found) -> None:
        """Delete the VM, with its disk and network interface, or the interface; nothing happens if it is gone.

        Raises:
            ClarionError: as for `remove`.
        """
        is_card = "/networkinterfaces/" in found.key.lower()  # in which case Azure writes it is its own affair
        with open_arm(self.server, self.patience) as arm:
            arm.delete(found.key, NETWORK if is_card else COMPUTE)

    def _marked(self, arm: Arm, collection: str, version: str) -> Iterator[Json]:
        for each in arm.listed(collection.rstrip("/"), version):
            if run_of(_tags(each), self.cluster):
                yield each

    def _found_machine(self, machine: Json) -> Found:
        name, number = machine["name"], f"azure:{_number_of(machine)}"
        how = removal(self.server, Machine(name, number))
        return Found(number, name, run_of(_tags(machine), self.cluster), made_as=name, key=machine["id"], removal=how)

    def _found_card(self, card: Json) -> Found:
        name, how = card["name"], f"az network nic delete --ids {shlex.quote(card['id'])}"
        run = run_of(_tags(card), self.cluster)
        return Found(f"azure:{name}", name, run, made_as=name, key=card["id"], removal=how)

    def _found(self, arm: Arm, machine: Machine) -> Json:
        """Return the VM with this number; nothing if there is none: its name may be another's by now."""
        machines = arm.listed(self._machine("").rstrip("/"), COMPUTE)
        return next((each for each in machines if f"azure:{_number_of(each)}" == machine.instance), {})

    def _machine(self, name: str) -> str:
        return f"{group_of(self.server)}/providers/Microsoft.Compute/virtualMachines/{name}"

    def _card(self, name: str) -> str:
        return f"{group_of(self.server)}/providers/Microsoft.Network/networkInterfaces/{name}"


def group_of(server: AzureServer) -> str:
    """Return the resource id of the role's resource group."""
    return f"/subscriptions/{server.subscription}/resourceGroups/{server.resource_group}"


def card_of(server: AzureServer, tags: Mapping[str, str]) -> Json:
    """Return the network interface that is put: one private address in the role's subnet."""
    address = {"subnet": {"id": server.subnet}, "privateIPAllocationMethod": "Dynamic"}
    return {
        "location": server.location,
        "tags": dict(tags),
        "properties": {"ipConfigurations": [{"name": "main", "properties": address}]},
    }


def machine_of(server: AzureServer, name: str, boot: bytes, card: str) -> Json:
    """Return the VM that is put; its disk and its interface are deleted with it."""
    key = {"path": f"/home/{_ADMIN}/.ssh/authorized_keys", "keyData": server.admin_ssh_key}
    return {
        "location": server.location,
        "properties": {
            "hardwareProfile": {"vmSize": server.size},
            "storageProfile": {
                "imageReference": image_reference(server.image),
                "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"},
            },
            "osProfile": {
                "computerName": name,
                "adminUsername": _ADMIN,
                "customData": base64.b64encode(boot).decode(),
                "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [key]}},
            },
            "networkProfile": {
                "networkInterfaces": [{"id": card, "properties": {"primary": True, "deleteOption": "Delete"}}]
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        },
    }


def image_reference(image: str) -> dict[str, str]:
    """Return an image as Azure wants it: an id as it is, a URN in its four parts.

    Raises:
        BadConfig: it is neither.
    """
    if image.startswith("/"):
        return {"id": image}
    parts = image.split(":")
    if len(parts) != 4 or not all(parts):
        hint = 'Write an id ("/subscriptions/...") or a URN ("Debian:debian-12:12-gen2:latest").'
        raise BadConfig(f"{image!r} is no image of Azure", hint=hint)
    return dict(zip(("publisher", "offer", "sku", "version"), parts, strict=True))


def _take_back(arm: Arm, machine: str, card: str, attempt: str) -> None:
    """Delete what this attempt has made, however far it came, and no VM of another that has the name."""
    found = arm.get(machine, COMPUTE)
    if found is not None and _tags(found).get(ATTEMPT) == attempt:
        arm.delete(machine, COMPUTE)
    _delete_card(arm, card)


def _delete_card(arm: Arm, card: str) -> None:
    until = time.monotonic() + arm.patience.end
    while not _is_deleted(arm, card) and time.monotonic() < until:
        time.sleep(arm.patience.pause)


def _is_deleted(arm: Arm, card: str) -> bool:
    """Delete an interface, unless Azure still keeps it for the VM that was not made: it does so for three minutes."""
    try:
        arm.delete(card, NETWORK)
    except ClarionError as error:
        if not is_error(error, "NicReservedForAnotherVm"):
            raise
        return False
    return True


def _name_of(order: ServerOrder) -> str:
    name = name_in_cloud(order)
    if not _NAME.match(name):
        raise BadConfig(
            f"Azure has no VMs called {name}",
            hint="It takes a-z, 0-9, - and ., 64 at most, a letter or digit at both ends: choose such a name.",
        )
    return name


def _number_of(machine: Json) -> str:
    return str(machine.get("properties", {}).get("vmId", "")).lower()


def _is_taken(card: Json) -> bool:
    return card.get("properties", {}).get("virtualMachine") is not None


def _tags(resource: Json) -> dict[str, str]:
    return resource.get("tags") or {}


def _address_of(card: Json) -> str:
    configurations: list[Any] = card.get("properties", {}).get("ipConfigurations") or [{}]
    return str(configurations[0].get("properties", {}).get("privateIPAddress", ""))


def removal(server: AzureServer, machine: Machine) -> str:
    """Return the command with which a person deletes the VM."""
    where = f"--subscription {server.subscription} --resource-group {server.resource_group}"
    return f"az vm delete {where} --name {machine.name}"
