"""Which hosts a deployment is for: those that were asked for, out of those that there should be.

- With a discoverer, the fleet is what it finds; one that is enrolled but not found is
  not touched. Without, the fleet is whoever is enrolled in the environment.
- A host that should be there and has no agent is counted, never forgotten.
- Everybody, unfiltered, is written as `all`: then hosts that join later belong to it, too. Names that were asked
  for are written as ids, so that what a deployer signs never grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clarion_controller.discovered import Discovered
from clarion_controller.fleet import unknown
from clarion_protocol.documents import Targets
from clarion_protocol.errors import NothingMatches


class Discoverer(Protocol):
    """Knows which hosts an environment should have."""

    def hosts(self) -> list[Discovered]:
        """Return the hosts that there should be.

        Raises:
            ClarionError: it cannot be known now; an unreachable source never means an empty fleet.
        """


@dataclass(frozen=True)
class TargetRequest:
    """What an operator asked for: an environment, and the names of hosts (None: all)."""

    environment: str
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class Selection:
    """The hosts that are meant, by id, and the names of those meant that have no agent."""

    targets: Targets
    hosts: dict[str, str]
    absent: list[str]


def select_targets(
    request: TargetRequest, discovered: Sequence[Discovered] | None, enrolled: Mapping[str, str]
) -> Selection:
    """Return who is meant; `discovered` is None where nothing is configured, `enrolled` maps names to ids.

    Raises:
        UnknownName: a host that was asked for does not exist.
        NothingMatches: nobody is left who could be deployed to.
    """
    fleet = list(enrolled) if discovered is None else [host.name for host in discovered]
    wanted = fleet if request.names is None else _named(request, fleet)
    hosts = {enrolled[name]: name for name in wanted if name in enrolled}
    if not hosts:
        raise NothingMatches(
            f"no host of {request.environment} that is meant has an agent",
            hint=f"Run 'clarion hosts -e {request.environment}' to see them, 'clarion hosts invite' to add one.",
        )
    absent = sorted(name for name in wanted if name not in enrolled)
    is_everybody = request.names is None and set(fleet) >= set(enrolled)
    targets = Targets(all=True) if is_everybody else Targets(hosts=sorted(hosts))
    return Selection(targets, hosts, absent)


def _named(request: TargetRequest, fleet: Iterable[str]) -> list[str]:
    known = set(fleet)
    names = list(dict.fromkeys(request.names or ()))
    for name in names:
        if name not in known:
            hint = f"Run 'clarion hosts -e {request.environment}' to see them."
            raise unknown("host", name, known, hint=hint)
    return names
