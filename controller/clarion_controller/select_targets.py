"""Which hosts a deployment is for: those that were asked for, out of those that there should be.

- The fleet is what the environment's sources list; an agent that no source lists is not touched, and refused if it
  is named. Without sources, the fleet is whoever is enrolled.
- A server that should be there and has no agent is counted, never forgotten.
- Everybody, unfiltered, is written as `all`: then hosts that join later belong to it, too. What was named or
  filtered is written as ids, so that what a deployer signs never grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clarion_controller.fleet_toml.fleet import unknown
from clarion_controller.host_filter import HostFilter, narrow
from clarion_controller.matching import Member
from clarion_protocol.documents import Targets
from clarion_protocol.errors import NothingMatches, UnknownName

NO_FILTER = HostFilter()


@dataclass(frozen=True)
class TargetRequest:
    """What an operator asked for: an environment, the names of hosts (None: all), and what those have in common."""

    environment: str
    names: Sequence[str] | None = None
    where: HostFilter = NO_FILTER

    @property
    def is_everybody(self) -> bool:
        """Whether nobody was left out."""
        return self.names is None and self.where.is_empty


@dataclass(frozen=True)
class Selection:
    """The hosts that are meant, by id, and the names of those meant that have no agent.

    `servers` names each of both by what it goes by where it is listed: one that was replaced under its name is another.
    """

    targets: Targets
    hosts: dict[str, str]
    absent: list[str]
    servers: Mapping[str, str] = field(default_factory=dict)


def select_targets(request: TargetRequest, members: Sequence[Member]) -> Selection:
    """Return who of an environment is meant.

    Raises:
        UnknownName: a host that was asked for does not exist, or no source lists its server.
        NothingMatches: the filter fits nobody, or nobody is left who could be deployed to.
    """
    if request.names is None:
        wanted = [member for member in members if member.is_expected]
    else:
        wanted = list(_named(request, members))
    wanted = narrow(wanted, request.where)
    hosts = {member.host.id: member.name for member in wanted if member.host}
    if not hosts:
        raise NothingMatches(
            f"no host of {request.environment} that is meant has an agent",
            hint=f"Run 'clarion hosts -e {request.environment}' to see them, 'clarion hosts invite' to add one.",
        )
    return Selection(
        targets=Targets(all=True) if request.is_everybody else Targets(hosts=sorted(hosts)),
        hosts=hosts,
        absent=sorted(member.name for member in wanted if not member.host),
        servers={_listed_as(member): member.name for member in wanted},
    )


def _named(request: TargetRequest, members: Sequence[Member]) -> Iterator[Member]:
    known = {member.name: member for member in members}
    hint = f"Run 'clarion hosts -e {request.environment}' to see them."
    for name in dict.fromkeys(request.names or ()):
        if name not in known:
            raise unknown("host", name, known, hint=hint)
        if not known[name].is_expected:
            raise UnknownName(
                f"{name} has an agent, but no source of {request.environment} lists a server that it runs on", hint=hint
            )
        yield known[name]


def _listed_as(member: Member) -> str:
    if member.server:
        return member.server.instance or member.server.name
    return member.host.id if member.host else member.name
