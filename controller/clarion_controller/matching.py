"""Which discovered server runs which agent: pure, and never by a name that a host merely claims.

- A server that has a number in its cloud belongs to the one agent that proved, when it
  joined, to hold an invitation and named that number; nothing else binds the two.
- A server that is only listed by name belongs to the agent that was enrolled under that
  name, unless that agent is bound to a server of a cloud already.
- What does not fit together stands out: each such member carries sentences, `findings`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clarion_controller.discover.discovered import Discovered
from clarion_controller.state.roster import Host
from clarion_protocol.words import is_name


@dataclass(frozen=True)
class Member:
    """One server of an environment: what discovery says of it, what the roster says of it, or both.

    `name` is unique among the members. `is_expected` says whether it belongs to the fleet: an agent whose server no
    source lists does not.
    """

    name: str
    host: Host | None = None
    server: Discovered | None = None
    is_expected: bool = True
    findings: tuple[str, ...] = ()

    @property
    def instance(self) -> str:
        """Its number in its cloud: as discovery says, else as the agent that joined does."""
        return self.server.instance if self.server else self.host.instance if self.host else ""

    @property
    def zone(self) -> str:
        """The zone that its cloud says it is in."""
        return self.server.zone if self.server else ""

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags or labels."""
        return self.server.tags if self.server else {}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups it was invited into, and those that its source puts it in."""
        groups = [*(self.host.groups if self.host else ()), *(self.server.groups if self.server else ())]
        return tuple(dict.fromkeys(groups))

    @property
    def former_names(self) -> tuple[str, ...]:
        """What it may have been called before it had an agent; which, hung on the names of others."""
        return (*reversed(_spellings(self.server)), self.server.name) if self.server else ()


def match(
    discovered: Iterable[Discovered] | None, enrolled: Sequence[Host], *, is_complete: bool = True
) -> list[Member]:
    """Return the members of an environment by name; `discovered` is None where nothing is configured.

    While a source has never answered, what is discovered is not complete: an agent that nobody lists may be one of
    those that it will list, and belongs to the fleet until it has.
    """
    if discovered is None:
        return sorted((Member(host.name, host) for host in enrolled), key=lambda member: member.name)
    servers = list(_merged(discovered))
    by_instance = _claims(enrolled)
    bound = [(server, _owner(server, by_instance)) for server in servers if server.instance]
    taken = {host.id for _, host in bound if host}
    by_name = {host.name: host for host in enrolled if host.id not in taken}
    bound += [(server, by_name.get(server.name)) for server in servers if not server.instance]
    taken |= {host.id for _, host in bound if host}
    strays = [host for host in enrolled if host.id not in taken]
    members = [*_members(bound, enrolled), *_strays(strays, by_instance, is_complete=is_complete)]
    return sorted(members, key=lambda member: member.name)


def _merged(discovered: Iterable[Discovered]) -> Iterator[Discovered]:
    """Yield each server once, however many sources list it."""
    seen: dict[str, Discovered] = {}
    for server in discovered:
        key = server.instance or f"name:{server.name}"
        seen[key] = _merge(seen[key], server) if key in seen else server
    yield from seen.values()


def _merge(first: Discovered, second: Discovered) -> Discovered:
    return Discovered(
        name=first.name,
        source=first.source if first.source == second.source else f"{first.source}, {second.source}",
        instance=first.instance,
        zone=first.zone or second.zone,
        state=first.state or second.state,
        groups=tuple(dict.fromkeys([*first.groups, *second.groups])),
        tags={**second.tags, **first.tags},
        addresses=tuple(dict.fromkeys([*first.addresses, *second.addresses])),
    )


def _claims(enrolled: Sequence[Host]) -> dict[str, list[Host]]:
    claims: dict[str, list[Host]] = {}
    for host in enrolled:
        if host.instance:
            claims.setdefault(host.instance, []).append(host)
    return claims


def _owner(server: Discovered, claims: Mapping[str, Sequence[Host]]) -> Host | None:
    """Return the agent of a server; two that claim it have both lost it until a person decides."""
    hosts = claims.get(server.instance, ())
    return hosts[0] if len(hosts) == 1 else None


def _members(bound: Sequence[tuple[Discovered, Host | None]], enrolled: Sequence[Host]) -> Iterator[Member]:
    namesakes = {host.name: host for host in enrolled}
    yield from (Member(host.name, host, server) for server, host in bound if host)
    bare = [(server, _spellings(server)) for server, host in bound if host is None]
    used = Counter(name for _, spellings in bare for name in spellings)
    for server, (*wanted, last) in bare:
        name = next((each for each in wanted if used[each] == 1 and each not in namesakes), last)
        member = Member(name, None, server)
        namesake = namesakes.get(server.name)
        yield replace(member, findings=_namesakes(server, namesake)) if namesake else member


def _spellings(server: Discovered) -> tuple[str, ...]:
    """Return what a server without agent may be called, best first; the last is its own, whatever others are called.

    Who may name servers in a cloud, or an agent, could take each of the others: no name has the last one's characters.
    """
    number, lister = server.instance.partition(":")[2], server.source.partition(",")[0]
    wanted = (server.name, f"{server.name}-{number or lister}", number)
    return (*dict.fromkeys(filter(is_name, wanted)), server.instance or f"{server.name} ({lister})")


def _namesakes(server: Discovered, host: Host) -> tuple[str, ...]:
    if not server.instance:
        return (
            f"the agent {host.name} runs on {host.instance}, which another source lists: "
            f"if that is the same server, take {server.name} out of {server.source}",
        )
    if host.instance:
        return ()
    return (
        f"an agent calls itself {host.name}, but never said that it is {server.instance}: "
        f"if it is, run 'clarion hosts revoke {host.name} -e {host.environment}' and 'clarion-agent join' there",
    )


def _strays(hosts: Sequence[Host], claims: Mapping[str, Sequence[Host]], *, is_complete: bool) -> Iterator[Member]:
    for host in hosts:
        rivals = [rival.name for rival in claims.get(host.instance, ()) if rival.id != host.id]
        is_expected = not is_complete and not rivals
        findings = () if is_expected else (_rivalry(host, rivals) if rivals else _unlisted(host),)
        yield Member(host.name, host, None, is_expected, findings)


def _rivalry(host: Host, rivals: Sequence[str]) -> str:
    return (
        f"claims to be {host.instance}, as {', '.join(rivals)} does: "
        f"run 'clarion hosts revoke NAME -e {host.environment}' for the copy"
    )


def _unlisted(host: Host) -> str:
    who = f"it as {host.instance}" if host.instance else "its name, and it never said which server of a cloud it is"
    return (
        f"no source lists {who}: nothing is deployed to it; "
        f"if it is gone for good, run 'clarion hosts revoke {host.name} -e {host.environment}'"
    )
