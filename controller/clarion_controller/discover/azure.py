"""Azure's virtual machines and instances of scale sets, as Resource Graph lists them.

- All subscriptions or nothing: Resource Graph leaves out, without a word, what the credentials
  may not read; so it is first asked which of the subscriptions it sees at all.
- Each page becomes servers as it is read.
- The SDK is loaded when hosts are asked for, not before.

This was built against Azure's documentation and its own SDK, without an account. Not tried on the real
service: that instances of uniform scale sets carry `zones` and their set's `tags` in ComputeResources, and
that a Reader of a subscription sees it in ResourceContainers. Private addresses of uniform scale sets are
not in Resource Graph at all, and what it lists can be a minute old.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from clarion_controller.discover.azure_client import open_client
from clarion_controller.discover.azure_graph import Graph, Limits
from clarion_controller.discover.azure_query import SUBSCRIPTIONS, server_queries
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Azure
from clarion_protocol.errors import BadConfig, CloudRefused, CloudUnavailable
from clarion_protocol.words import is_instance


class _Subscription(msgspec.Struct):
    """A subscription that the credentials may read."""

    subscriptionId: str  # noqa: N815 (as Resource Graph spells it)


class _Server(msgspec.Struct):
    """One machine with one of its addresses, as the queries project it."""

    vmId: str  # noqa: N815
    name: str
    location: str
    zone: str
    scaleSet: str  # noqa: N815
    state: str
    tags: dict[str, str | None] | None = None
    computerName: str = ""  # noqa: N815
    address: str | None = None


@dataclass(frozen=True)
class AzureDiscoverer:
    """Lists the virtual machines that a source of fleet.toml describes."""

    source: Azure
    limits: Limits = field(default_factory=Limits)

    def hosts(self) -> list[Discovered]:
        """Return the machines in the order of their ids.

        Raises:
            BadConfig: the SDK is not installed, or the source names what cannot be.
            CloudRefused: the credentials are missing, wrong or expired, or lack a permission.
            CloudUnavailable: Azure does not answer, asks for patience, or its answer is not whole.
        """
        subscriptions = _checked(self.source.subscriptions)
        queries = server_queries(self.source)
        with open_client(self.source.endpoint, self.limits) as client:
            graph = Graph(client, subscriptions, self.limits)
            _refuse_unseen(graph)
            found: dict[str, Discovered] = {}
            for query in queries:
                for row in graph.rows(query, _Server):
                    server = _server_of(row)
                    found[server.instance] = _with_address(found.get(server.instance, server), row.address)
        return [found[instance] for instance in sorted(found)]


def _checked(subscriptions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the subscriptions as Azure spells them; without any, Resource Graph would list everything it may."""
    if not subscriptions:
        raise BadConfig("an azure source of fleet.toml names no subscription", hint="'az account list' shows them.")
    return tuple(dict.fromkeys(_guid(name) for name in subscriptions))


def _guid(name: str) -> str:
    try:
        return str(UUID(name))
    except ValueError:
        raise BadConfig(
            f"{name!r} is no subscription of Azure", hint="Name it by its id: 'az account list --output table'."
        ) from None


def _refuse_unseen(graph: Graph) -> None:
    seen = {row.subscriptionId.lower() for row in graph.rows(SUBSCRIPTIONS, _Subscription)}
    for name in graph.subscriptions:
        if name not in seen:
            raise CloudRefused(
                f"Azure shows these credentials nothing of subscription {name}",
                hint=f"Give them the role Reader on /subscriptions/{name}, or remove it from fleet.toml.",
            )


def _server_of(row: _Server) -> Discovered:
    instance = f"azure:{row.vmId}"
    if not is_instance(instance):
        raise CloudUnavailable(f"Azure lists {row.name!r} with the vmId {row.vmId!r}", hint="It is asked again later.")
    return Discovered(
        name=row.computerName or row.name,
        source="azure",
        instance=instance,
        zone="-".join(filter(None, [row.location, row.zone])),
        state=row.state.partition("/")[2],
        groups=(row.scaleSet,) if row.scaleSet else (),
        tags={name: value or "" for name, value in (row.tags or {}).items()},
    )


def _with_address(server: Discovered, address: str | None) -> Discovered:
    if not address or address in server.addresses:
        return server
    return msgspec.structs.replace(server, addresses=(*server.addresses, address))
