"""What an existing server is made of, as its cloud says, so that another can be made like it."""

from __future__ import annotations

from collections.abc import Sequence

from clarion_controller.fleet_toml.fleet import HostSource
from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.aws_like import aws_like
from clarion_controller.provisioners.azure_like import azure_like
from clarion_controller.provisioners.gcp_like import gcp_like
from clarion_protocol.errors import BadConfig

FIRST_A_ROLE = "Write a [role.NAME] with its groups into fleet.toml: docs/how-to/provision-a-server.md shows one."


def like(instance: str, zone: str, sources: Sequence[HostSource]) -> Role:
    """Return a role for a copy of a server; of its environment's sources, the one that lists it says how to ask.

    Raises:
        BadConfig: it is in no cloud, or no source of fleet.toml reaches it there.
        CloudRefused, CloudUnavailable: its cloud does not say.
    """
    cloud = instance.partition(":")[0]
    if cloud not in ("aws", "gcp", "azure"):
        raise BadConfig("that server is in no cloud that could make another like it", hint=FIRST_A_ROLE)
    for source in sources:
        found = _copy(source, instance, zone)
        if found is not None:
            return found
    raise BadConfig(f"no source of its environment says how to reach {instance}", hint=FIRST_A_ROLE)


def _copy(source: HostSource, instance: str, zone: str) -> Role | None:
    """Return the role if this source lists that kind of servers, and this one is among them."""
    if source.aws and instance.startswith("aws:"):
        aws = aws_like(source.aws, instance, zone)
        return Role(aws=aws) if aws else None
    if source.gcp and instance.startswith("gcp:"):
        gcp = gcp_like(source.gcp, instance, zone)
        return Role(gcp=gcp) if gcp else None
    if source.azure and instance.startswith("azure:"):
        azure = azure_like(source.azure, instance)
        return Role(azure=azure) if azure else None
    return None
