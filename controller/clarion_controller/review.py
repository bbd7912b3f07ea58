"""What a person has to know of a plan before signing it, and whether it still means the same hosts when it is; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.explain import listed
from clarion_controller.matching import Member
from clarion_controller.select_targets import Selection
from clarion_protocol.documents import Deployment
from clarion_protocol.errors import Blocked, UnknownName
from clarion_protocol.words import Intent


def refuse_changed(before: Selection, now: Selection) -> None:
    """Return if a plan still means whom it meant when a person looked at it.

    Raises:
        Blocked: hosts came or went, or an agent joined that ids name one by one.
    """
    came = {name for key, name in now.servers.items() if key not in before.servers}
    went = {name for key, name in before.servers.items() if key not in now.servers}
    if not before.targets.all:
        came.update(name for id_, name in now.hosts.items() if id_ not in before.hosts)
    if came or went:
        moves = [f"{listed(sorted(names))} {verb}" for names, verb in ((came, "came"), (went, "went")) if names]
        raise Blocked(
            f"the fleet has changed since this was planned: {', '.join(moves)}",
            hint="Plan it again: run the same command once more.",
        )


def hosts_of(deployment: Deployment, members: Sequence[Member]) -> Iterator[tuple[str, str]]:
    """Yield the ids and names of those whom a deployment names by id; a way back does without those that are gone.

    Raises:
        UnknownName: one is not there any more.
    """
    known = {member.host.id: member.name for member in members if member.host and member.is_expected}
    for id_ in deployment.targets.hosts:
        if id_ in known:
            yield id_, known[id_]
        elif deployment.intent is not Intent.ROLLBACK:
            raise UnknownName(f"host {id_} left {deployment.environment} since this was planned", hint="Plan it again.")


def doubts(sources: Sequence[SourceAnswer]) -> Iterator[str]:
    """Yield why less is known than there may be: a plan that was drawn up all the same has to say so."""
    for source in sources:
        if source.trouble:
            yield f"{source.source} does not answer ({source.trouble}): the {source.hosts} hosts it listed last count"
        elif source.offered is not None:
            offered = "1 host" if source.offered == 1 else f"{source.offered:,} hosts"
            yield f"{source.source} lists {offered}: the {source.hosts} it listed before count"


def findings(members: Sequence[Member], selection: Selection) -> Iterator[str]:
    """Yield what does not fit together about those who are meant, and about those who belong nowhere."""
    meant = {*selection.hosts.values(), *selection.absent}
    for member in members:
        if member.name in meant or not member.is_expected:
            yield from (f"{member.name}: {finding}" for finding in member.findings)
