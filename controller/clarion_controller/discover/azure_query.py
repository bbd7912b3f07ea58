"""What is asked of Azure Resource Graph: pure text, in its dialect of KQL.

- A value from fleet.toml only ever becomes a quoted literal: no value can end its literal.
- Every list is ordered by what is unique, or its pages would overlap and leave servers out.
- A table is read without `limit`, `take` and `summarize`, which Resource Graph does not page through.

Rules of Resource Graph: https://learn.microsoft.com/azure/governance/resource-graph/concepts/query-language
and, for pages, .../concepts/paging-results. The tables and columns are those of its documented samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clarion_controller.fleet_toml.fleet import Azure
from clarion_protocol.errors import BadConfig

SUBSCRIPTIONS = """\
ResourceContainers
| where type =~ 'microsoft.resources/subscriptions'
| project subscriptionId, name
| order by subscriptionId asc"""

# Scale sets in flexible mode are made of ordinary machines; a machine with several addresses is several rows.
_MACHINES = """\
Resources
| where type =~ 'microsoft.compute/virtualmachines'
| extend scaleSet = tostring(split(tostring(properties.virtualMachineScaleSet.id), '/')[8])
{filters}
| extend machine = tolower(id)
| join kind=leftouter (
    Resources
    | where type =~ 'microsoft.network/networkinterfaces'
    | mv-expand ip = properties.ipConfigurations
    | project machine = tolower(tostring(properties.virtualMachine.id)),
        address = tostring(ip.properties.privateIPAddress)
) on machine
| project vmId = tolower(tostring(properties.vmId)), name, location, zone = tostring(zones[0]), scaleSet, state, tags,
    address
| order by vmId asc, address asc"""

# Scale sets in uniform mode keep their instances in a table of their own, which says nothing of private addresses.
_INSTANCES = """\
ComputeResources
| where type =~ 'microsoft.compute/virtualmachinescalesets/virtualmachines'
| extend scaleSet = tostring(split(id, '/')[8])
{filters}
| project vmId = tolower(tostring(properties.vmId)), name, computerName = tostring(properties.osProfile.computerName),
    location, zone = tostring(zones[0]), scaleSet, state, tags
| order by vmId asc"""

_STATE = "| extend state = tostring(properties.extended.instanceView.powerState.code)"


def server_queries(source: Azure) -> list[str]:
    """Return the questions that together list the servers of a source.

    Raises:
        BadConfig: a value holds characters that no name or tag in Azure has.
    """
    filters = "\n".join([_STATE, *_filters(source)])
    return [query.format(filters=filters) for query in (_MACHINES, _INSTANCES)]


def _filters(source: Azure) -> Iterator[str]:
    for name, value in source.tags.items():
        tag = f"tags[{quoted(name)}]"
        # An absent tag reads as an empty one.
        yield f"| where isnotnull({tag}) and tostring({tag}) == {quoted(value)}"
    yield from _one_of("resourceGroup", source.resource_groups)
    yield from _one_of("location", source.locations)
    yield from _one_of("scaleSet", source.scale_sets)
    yield from _one_of("state", [f"PowerState/{state}" for state in source.states])


def _one_of(column: str, values: Sequence[str]) -> Iterator[str]:
    if values:
        yield f"| where {column} in~ ({', '.join(quoted(value) for value in values)})"


def quoted(value: str) -> str:
    """Return `value` as a string literal of KQL.

    Raises:
        BadConfig: it holds what does not print, or what Resource Graph replaces by a shared query.
    """
    if not value.isprintable() or "{{" in value:
        raise BadConfig(f"an azure source of fleet.toml has {value!r}", hint="Azure has no name or tag like that.")
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
