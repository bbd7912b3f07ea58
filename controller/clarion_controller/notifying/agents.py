"""Agents lost and back, outside deployments: those of one moment are one notice and one incident; pure.

- A moment lasts 30 s from the first that is lost: hosts speak every 30 s, so one broken switch is noticed within that.
- Who is back before the moment is over was never told as lost, and is not told as back.
- Who comes back is told together with who else of the same incident comes back within a moment; the last ends it.
- A host that was revoked or has left the fleet is not waited for; an incident of which nobody else is left ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec
from msgspec.structs import replace

from clarion_controller.explain import listed
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.moment import MOMENT
from clarion_controller.notifying.wording import counted, no_longer_watched, worded
from clarion_controller.state.events import AgentBack, AgentLost, AnyEvent, HostRemoved, HostRevoked


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Agents that were lost within one moment: one incident. `hosts` are still lost, `back` is not told yet.

    `at` is when the first was found lost, `since` when that one was last heard; `seq` numbers the event.
    """

    seq: int
    environment: str
    at: float
    since: float
    hosts: dict[str, str]
    is_told: bool = False
    back: dict[str, str] = {}
    back_seq: int = 0
    back_at: float = 0.0

    @property
    def incident(self) -> str:
        """The name of the incident."""
        return f"agents-{self.environment}-{self.seq}"

    @property
    def due(self) -> float | None:
        """When the next notice about it is due."""
        if not self.is_told:
            return self.at + MOMENT
        if not self.back:
            return None
        return self.back_at + (MOMENT if self.hosts else 0.0)


Agents = tuple[Lost, ...]


def fold(state: Agents, seq: int, event: AnyEvent) -> tuple[Agents, list[Notice]]:
    """Return what is known of lost agents after an event, and what is told at once."""
    if isinstance(event, AgentLost):
        return _lost(state, seq, event), []
    if isinstance(event, AgentBack):
        return _each(state, event.host, lambda group: _back(group, seq, event))
    if isinstance(event, (HostRevoked, HostRemoved)):
        return _each(state, event.host, lambda group: _gone(group, event))
    return state, []


def settle(state: Agents, now: float) -> tuple[Agents, list[Notice]]:
    """Return the same with what is due now told."""
    told = [_settled(group) if group.due is not None and now >= group.due else (group, []) for group in state]
    groups = tuple(group for group, _ in told if group.hosts or group.back)
    return groups, [notice for _, notices in told for notice in notices]


def withdraw(state: Agents, environments: Collection[str], now: float) -> tuple[Agents, list[Notice]]:
    """Return what is known of these environments alone, and what is told of incidents in others."""
    kept = tuple(group for group in state if group.environment in environments)
    gone = [group for group in state if group.is_told and group.environment not in environments]
    title, why = "no agent is missed in {} any more", "fleet.toml has no [environment.{}] any more"
    told = [_withdrawn(group, now, title.format(group.environment), why.format(group.environment)) for group in gone]
    return kept, told


def _lost(state: Agents, seq: int, event: AgentLost) -> Agents:
    if any(event.host in group.hosts for group in state):
        return state
    for place, group in enumerate(state):
        if not group.is_told and group.environment == event.environment and event.at < group.at + MOMENT:
            since = min(group.since, event.since)
            joined = replace(group, hosts={**group.hosts, event.host: event.name}, since=since)
            return (*state[:place], joined, *state[place + 1 :])
    hosts = {event.host: event.name}
    return (*state, Lost(seq=seq, environment=event.environment, at=event.at, since=event.since, hosts=hosts))


_Change = Callable[[Lost], tuple[Lost, list[Notice]]]


def _each(state: Agents, host: str, change: _Change) -> tuple[Agents, list[Notice]]:
    """Change the incident in which a host is lost; one that is empty after that is over."""
    told = [change(group) if host in group.hosts else (group, []) for group in state]
    groups = tuple(group for group, _ in told if group.hosts or group.back)
    return groups, [notice for _, notices in told for notice in notices]


def _without(group: Lost, host: str) -> Lost:
    return replace(group, hosts={id_: name for id_, name in group.hosts.items() if id_ != host})


def _back(group: Lost, seq: int, event: AgentBack) -> tuple[Lost, list[Notice]]:
    rest = _without(group, event.host)
    if not group.is_told:
        return rest, []
    # The moment begins with the first that is back, and is over at once when nobody is left to wait for.
    first = (group.back_seq, group.back_at) if group.back else (seq, event.at)
    rest = replace(rest, back={**group.back, event.host: group.hosts[event.host]}, back_seq=first[0], back_at=first[1])
    return (rest, []) if rest.hosts else _settled(rest)


def _gone(group: Lost, event: HostRevoked | HostRemoved) -> tuple[Lost, list[Notice]]:
    rest = _without(group, event.host)
    if rest.hosts or not group.is_told:
        return rest, []
    if rest.back:
        return _settled(rest)
    title = f"{group.hosts[event.host]} is not in {group.environment} any more"
    return rest, [_withdrawn(group, event.at, title, "its agent was lost, and is not waited for")]


def _withdrawn(group: Lost, now: float, title: str, reason: str) -> Notice:
    return no_longer_watched(
        group.incident,
        since=group.since,
        at=now,
        environment=group.environment,
        title=title,
        reason=reason,
    )


def _settled(group: Lost) -> tuple[Lost, list[Notice]]:
    """Return the incident with what was gathered told."""
    if group.is_told:
        return replace(group, back={}), [_told_back(group)]
    return replace(group, is_told=True), [_told_lost(group)]


def _told_lost(group: Lost) -> Notice:
    names = sorted(group.hosts.values())
    return worded(
        group.seq,
        Kind.AGENT_LOST,
        severity=Severity.WARNING if len(names) == 1 else Severity.ERROR,
        incident=group.incident,
        environment=group.environment,
        title=f"{_who(names)} lost in {group.environment}",
        reason=f"{listed(names)}: not heard from; what runs there goes on, but gets nothing new",
        since=group.since,
        at=group.at,
        affected=names,
        next_command=f"clarion hosts -e {group.environment}",
    )


def _told_back(group: Lost) -> Notice:
    names, rest = sorted(group.back.values()), sorted(group.hosts.values())
    still = f"; still lost: {listed(rest)}" if rest else ""
    return worded(
        group.back_seq,
        Kind.AGENT_BACK,
        severity=Severity.INFO,
        incident=group.incident,
        resolves=not rest,
        environment=group.environment,
        title=f"{_who(names)} back in {group.environment}",
        reason=f"{listed(names)}: heard from again{still}",
        since=group.since,
        at=group.back_at,
        affected=names,
        next_command=f"clarion hosts -e {group.environment}",
    )


def _who(names: list[str]) -> str:
    return f"{names[0]}'s agent is" if len(names) == 1 else f"{counted(len(names), 'agent')} are"
