"""Servers on Compute Engine, made with `instances.insert`.

- What is made says so from its first moment: its labels are part of the request that makes it.
- Names are taken once in a project and zone: one that is taken is never touched, and what an attempt has made is told
  by its label, not by its name.
- Nothing is deleted unless its labels say that this cluster made it; what is known by its labels alone, only if the
  name that it was made with says the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clarion_controller.fleet_toml.roles import GcpServer
from clarion_controller.provisioners.first_boot import Room, user_data
from clarion_controller.provisioners.gcp_compute import Compute, Patience
from clarion_controller.provisioners.gcp_said import is_refusal
from clarion_controller.provisioners.marks import (
    ATTEMPT,
    CLUSTER,
    is_ours,
    marked,
    name_in_cloud,
    new_attempt,
    run_of,
)
from clarion_controller.provisioners.provisioner import Found, Machine, ServerOrder
from clarion_controller.provisioners.taken_back import taken_back
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused

ROOM = Room("Google Cloud", 256 * 1024, takes_gzip=False)
CONSOLE = 8_000  # characters
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_EVERYTHING = "https://www.googleapis.com/auth/cloud-platform"  # what it may do is for IAM to say, not for scopes


@dataclass(frozen=True)
class GcpProvisioner:
    """Makes Compute Engine instances like `server` for the cluster of that id."""

    server: GcpServer
    cluster: str
    patience: Patience = field(default_factory=Patience)

    def create(self, order: ServerOrder) -> Machine:
        """Make an instance and return when it runs; what was made is deleted again if it fails.

        Raises:
            BadConfig: the SDK is not installed, the role names what there is not, or its first boot is too long.
            Blocked: the project has an instance of that name.
            CloudRefused: the credentials are missing or wrong, lack a permission, or a quota is used up.
            CloudUnavailable: Google does not answer, takes too long, or has no such server free now.
            ProvisionFailed: it could not be made, or ended by itself.
        """
        attempt, name = new_attempt(), _name_of(order)
        wanted = resource_of(self.server, order, marked(self.server.labels, order, self.cluster, attempt))
        compute = self._open()
        with taken_back(lambda: self._take_back(compute, name, attempt), unless=is_refusal):
            compute.insert(compute.sdk.Instance(wanted), attempt)
            made = compute.running(name)
        return Machine(order.name, f"gcp:{made.id}", made.network_interfaces[0].network_i_p)

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Do nothing: names within a network of Google's are its own DNS's."""

    def console(self, machine: Machine) -> str:
        """Return the end of what the instance wrote to its serial port; "" if that cannot be had."""
        try:
            return self._open().serial(_number_of(machine))[-CONSOLE:]
        except ClarionError:  # that there is none must not hide why it was asked for
            return ""

    def remove(self, machine: Machine) -> None:
        """Delete the instance and its disk; nothing happens if it is gone.

        Raises:
            CloudRefused: Google forbids it, or the instance was not made by this cluster.
            CloudUnavailable: Google does not answer, or takes too long.
        """
        compute, number = self._open(), _number_of(machine)
        found = compute.instance(number)
        if found is None:
            return
        if not is_ours(dict(found.labels), self.cluster):
            hint = f"To delete it all the same: '{removal(self.server, machine)}'."
            raise CloudRefused(f"the instance {found.name} was not made by this cluster", hint=hint)
        compute.delete(number)

    def found(self) -> list[Found]:
        """Return what carries this cluster's mark and a night's.

        Raises:
            ClarionError: as for `remove`.
        """
        labelled = self._open().labelled(CLUSTER, self.cluster)
        return [self._found(each) for each in labelled if run_of(dict(each.labels), self.cluster)]

    def end(self, found: Found) -> None:
        """Delete the instance and its disk; nothing happens if it is gone.

        Raises:
            ClarionError: as for `remove`.
        """
        self._open().delete(found.key)

    def _found(self, instance: Any) -> Found:
        number, name = str(instance.id), str(instance.name)
        run, how = run_of(dict(instance.labels), self.cluster), removal(self.server, Machine(name, f"gcp:{number}"))
        return Found(f"gcp:{number}", name, run, made_as=name, key=number, removal=how)

    def _take_back(self, compute: Compute, name: str, attempt: str) -> None:
        """Delete what this attempt has made, however far it came, and nothing else that has the name."""
        until = time.monotonic() + self.patience.show
        while (found := compute.instance(name)) is None and time.monotonic() < until:
            time.sleep(self.patience.pause)
        if found is not None and found.labels.get(ATTEMPT) == attempt:
            compute.delete(str(found.id))

    def _open(self) -> Compute:
        return Compute.open(self.server, self.patience)


def resource_of(server: GcpServer, order: ServerOrder, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the instance as `instances.insert` wants it, with the SDK's names.

    Raises:
        BadConfig: the first boot is too long for Google Cloud.
    """
    boot = user_data(order.name, order.first_boot, ROOM).decode()
    wanted: dict[str, Any] = {
        "name": name_in_cloud(order),
        "machine_type": _path(server.machine_type, f"zones/{server.zone}/machineTypes"),
        "disks": [
            {
                "boot": True,
                "auto_delete": True,
                "initialize_params": {"source_image": _path(server.image, "global/images")},
            }
        ],
        "network_interfaces": [_card(server)],
        "labels": dict(labels),
        "metadata": {"items": [{"key": "startup-script", "value": boot}]},
    }
    if server.service_account:
        wanted["service_accounts"] = [{"email": server.service_account, "scopes": [_EVERYTHING]}]
    return wanted


def _card(server: GcpServer) -> dict[str, str]:
    """Return its one network interface; without a public address."""
    region = server.zone.rpartition("-")[0]
    if server.subnetwork:
        return {"subnetwork": _path(server.subnetwork, f"regions/{region}/subnetworks")}
    return {"network": _path(server.network or "default", "global/networks")}


def _path(written: str, collection: str) -> str:
    """Return where a resource is: as it is written, or of that name in the project itself."""
    return written if "/" in written else f"{collection}/{written}"


def _name_of(order: ServerOrder) -> str:
    name = name_in_cloud(order)
    if not _NAME.match(name):
        raise BadConfig(
            f"Google Cloud has no instances called {name}",
            hint="It takes a-z, 0-9 and -, a letter first, 63 at most: choose such a name.",
        )
    return name


def _number_of(machine: Machine) -> str:
    return machine.instance.removeprefix("gcp:")


def removal(server: GcpServer, machine: Machine) -> str:
    """Return the command with which a person deletes the instance."""
    where = f"--project {server.project} --zone {server.zone}"
    return f"gcloud compute instances delete {machine.name} {where}"
