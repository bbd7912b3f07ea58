"""Which cloud makes the servers of a role, and how a person would take one away. The SDKs load when they are used."""

from __future__ import annotations

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.aws import AwsProvisioner
from clarion_controller.provisioners.aws import removal as aws_removal
from clarion_controller.provisioners.azure import AzureProvisioner
from clarion_controller.provisioners.azure import removal as azure_removal
from clarion_controller.provisioners.gcp import GcpProvisioner
from clarion_controller.provisioners.gcp import removal as gcp_removal
from clarion_controller.provisioners.provisioner import Cloud, Machine


def in_cloud(role: Role, cluster: str) -> Cloud | None:
    """Return what makes servers of this role in its cloud; None if it has none."""
    if role.aws:
        return AwsProvisioner(role.aws, cluster)
    if role.gcp:
        return GcpProvisioner(role.gcp, cluster)
    if role.azure:
        return AzureProvisioner(role.azure, cluster)
    return None


def removal(role: Role, machine: Machine) -> str:
    """Return the command with which a person takes away a server of this role."""
    if role.aws:
        return aws_removal(role.aws, machine)
    if role.gcp:
        return gcp_removal(role.gcp, machine)
    if role.azure:
        return azure_removal(role.azure, machine)
    return f"systemctl disable --now systemd-nspawn@{machine.name} && machinectl remove {machine.name}"
