"""Choose who makes the servers of a role."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.clouds import in_cloud
from clarion_controller.provisioners.nspawn import NspawnProvisioner
from clarion_controller.provisioners.provisioner import Provisioner
from clarion_protocol.errors import BadConfig


def provisioner_of(role: Role, home: Path, cluster: str, run: str) -> Provisioner:
    """Return who makes the servers of this role; of one night, the same for all that nspawn makes.

    Raises:
        BadConfig: nobody can make them.
    """
    if role.provisioner == "nspawn":
        return nspawn_of(cluster, run)
    if found := in_cloud(role, cluster):
        return found
    raise BadConfig(f"no servers can be made by {role.provisioner}")


@cache
def nspawn_of(cluster: str, run: str) -> NspawnProvisioner:
    """Return the one that has this night's island: servers of different roles find each other only on the same one."""
    return NspawnProvisioner(cluster, run)
