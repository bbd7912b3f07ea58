"""Builds broken and repaired, per repository and ref: only the change from one to the other is told; pure.

- A build that was superseded or cancelled says nothing about the source, so it changes nothing.
- A tag is built once: one that is broken is repaired by the next tag of its repository that is not.
- A ref of which nothing was built for a month, or that the repository does not build any more, is not waited for.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from clarion_controller.builds.build import BuildStatus
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.wording import SHORT_ID, no_longer_watched, worded
from clarion_controller.state.events import AnyEvent, BuildFinished

FORGOTTEN = 30 * 86_400.0
_TAG = "refs/tags/"


class Broken(msgspec.Struct, frozen=True):
    """A ref whose last build failed: the number of the event with which that began, its time, that of the last."""

    seq: int
    since: float
    last: float = 0.0


Builds = dict[str, Broken]


def fold(state: Builds, seq: int, event: AnyEvent) -> tuple[Builds, list[Notice]]:
    """Return which refs are broken after an event, and what is told of it."""
    if not isinstance(event, BuildFinished):
        return state, []
    if event.status == BuildStatus.FAILED.value:
        return _failed(state, seq, event)
    if event.status == BuildStatus.SUCCEEDED.value:
        return _succeeded(state, seq, event)
    return state, []


def withdraw(state: Builds, repositories: Mapping[str, Repository], now: float) -> tuple[Builds, list[Notice]]:
    """Return which refs are waited for, and what is told of the others; `repositories` are those of fleet.toml."""
    why = {place: _why_forgotten(place, broken, repositories, now) for place, broken in state.items()}
    gone = [_withdrawn(place, state[place], reason, now) for place, reason in why.items() if reason]
    return {place: broken for place, broken in state.items() if not why[place]}, gone


def incident_of(place: str, broken: Broken) -> str:
    """Return the name of the incident of a ref."""
    return f"build-{_parts(place)[0]}-{broken.seq}"


def _failed(state: Builds, seq: int, event: BuildFinished) -> tuple[Builds, list[Notice]]:
    place = f"{event.repository} {event.ref}"
    if before := state.get(place):
        return {**state, place: replace(before, last=event.at)}, []
    return {**state, place: Broken(seq, event.at, event.at)}, [_broken(seq, event)]


def _succeeded(state: Builds, seq: int, event: BuildFinished) -> tuple[Builds, list[Notice]]:
    well = [place for place in state if _is_repaired(place, event)]
    left = {place: broken for place, broken in state.items() if place not in well}
    return left, [_repaired(seq, event, place, state[place]) for place in well]


def _is_repaired(place: str, event: BuildFinished) -> bool:
    repository, ref = _parts(place)
    are_tags = ref.startswith(_TAG) and event.ref.startswith(_TAG)
    return repository == event.repository and (ref == event.ref or are_tags)


def _why_forgotten(place: str, broken: Broken, repositories: Mapping[str, Repository], now: float) -> str:
    """Return why nobody waits for a ref any more; "" if somebody does."""
    name, ref = _parts(place)
    if name not in repositories:
        return f"fleet.toml has no [repository.{name}] any more"
    if not repositories[name].wants(ref):
        return f"[repository.{name}] does not build it when it is pushed"
    # One that was written by an older version has no `last`.
    if now - max(broken.last, broken.since) > FORGOTTEN:
        return "nothing of it was built for 30 days"
    return ""


def _parts(place: str) -> tuple[str, str]:
    """Return the repository and the ref."""
    repository, _, ref = place.partition(" ")
    return repository, ref


def _broken(seq: int, event: BuildFinished) -> Notice:
    return worded(
        seq,
        Kind.BUILD_BROKEN,
        severity=Severity.WARNING,
        incident=f"build-{event.repository}-{seq}",
        app=event.app,
        title=f"build of {event.repository} broken: {_spoken(event.ref)}",
        reason=f"commit {event.commit[:12]}: {event.reason or 'it failed'}",
        since=event.at,
        at=event.at,
        affected=[event.app],
        next_command=f"clarion builds log {event.build[:SHORT_ID]}",
    )


def _repaired(seq: int, event: BuildFinished, place: str, before: Broken) -> Notice:
    ref = _parts(place)[1]
    by = "" if ref == event.ref else f" as {_spoken(event.ref)}"
    notice = worded(
        seq,
        Kind.BUILD_REPAIRED,
        severity=Severity.INFO,
        incident=incident_of(place, before),
        resolves=True,
        app=event.app,
        title=f"build of {event.repository} repaired: {_spoken(ref)}",
        reason=f"commit {event.commit[:12]} built {event.app} {event.version}{by}",
        since=before.since,
        at=event.at,
        affected=[event.app],
        next_command=f"clarion packages {event.app}",
    )
    # One tag may repair several.
    return replace(notice, id=f"{notice.id}-{before.seq}")


def _withdrawn(place: str, broken: Broken, why: str, now: float) -> Notice:
    repository, ref = _parts(place)
    title = f"build of {repository} is not watched any more: {_spoken(ref)}"
    return no_longer_watched(incident_of(place, broken), since=broken.since, at=now, title=title, reason=why)


def _spoken(ref: str) -> str:
    for prefix, noun in (("refs/heads/", "branch"), (_TAG, "tag")):
        if ref.startswith(prefix):
            return f"{noun} {ref[len(prefix) :]}"
    return ref
