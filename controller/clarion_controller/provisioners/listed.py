"""Whether a source of an environment will list a server that is yet to be made; else it is given nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from clarion_controller.fleet_toml.fleet import Aws, Azure, Environment, Gcp, HostSource
from clarion_controller.fleet_toml.roles import AwsServer, AzureServer, GcpServer, Role
from clarion_protocol.errors import BadConfig


def refuse_unlisted(name: str, role: Role, environment: Environment) -> None:
    """Return if a source will list such a server, or if that cannot be told.

    Raises:
        BadConfig: none will.
    """
    reasons = [next(_reasons(name, role, source), "") for source in environment.hosts]
    if reasons and all(reasons):
        raise BadConfig(
            f"no source of its environment would list {name}: {'; '.join(reasons)}",
            hint="It would join and be given nothing. Correct the role's place and tags, or the source, in fleet.toml.",
        )


def _reasons(name: str, role: Role, source: HostSource) -> Iterator[str]:
    """Yield why a source will not list it."""
    if source.static is not None and name not in source.static:
        yield "the static list does not name it"
    if source.aws:
        yield from _aws(role.aws, source.aws) if role.aws else ["the aws source lists nothing else"]
    if source.gcp:
        yield from _gcp(role.gcp, source.gcp) if role.gcp else ["the gcp source lists nothing else"]
    if source.azure:
        yield from _azure(role.azure, source.azure) if role.azure else ["the azure source lists nothing else"]


def _aws(server: AwsServer, source: Aws) -> Iterator[str]:
    if server.region not in source.regions:
        yield f"the aws source does not look into {server.region}"
    for key, pattern in source.tags.items():
        if not (key in server.tags and fnmatchcase(server.tags[key], pattern)):
            yield f"the aws source looks for {key} = {pattern}"
    if source.autoscaling_groups:
        yield "the aws source lists only what a scaling group has started"


def _gcp(server: GcpServer, source: Gcp) -> Iterator[str]:
    if source.project != server.project or (source.zones and server.zone not in source.zones):
        yield f"the gcp source does not look into {server.zone} of {server.project}"
    yield from _unlike("gcp", server.labels, source.labels)
    if source.instance_groups:
        yield "the gcp source lists only what an instance group has started"


def _azure(server: AzureServer, source: Azure) -> Iterator[str]:
    for wanted, place in (
        (source.subscriptions, server.subscription),
        (source.resource_groups, server.resource_group),
        (source.locations, server.location),
    ):
        if wanted and place.lower() not in [each.lower() for each in wanted]:
            yield f"the azure source does not look into {place}"
    yield from _unlike("azure", server.tags, source.tags)
    if source.scale_sets:
        yield "the azure source lists only what a scale set has started"


def _unlike(kind: str, tags: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    for key, value in wanted.items():
        if tags.get(key) != value:
            yield f"the {kind} source looks for {key} = {value}"
