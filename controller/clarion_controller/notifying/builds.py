"""Builds broken and repaired, per repository and ref: only the change from one to the other is told; pure.

A build that was superseded or cancelled says nothing about the source, so it changes nothing.
"""

from __future__ import annotations

import msgspec

from clarion_controller.builds.build import BuildStatus
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.wording import SHORT_ID, worded
from clarion_controller.state.events import AnyEvent, BuildFinished

# Each broken tag stays broken for ever: the oldest are forgotten, and would at worst be told once more.
MAX_BROKEN = 500


class Broken(msgspec.Struct, frozen=True):
    """A ref whose last build failed: the number of the event with which that began, and its time."""

    seq: int
    since: float


Builds = dict[str, Broken]


def fold(state: Builds, seq: int, event: AnyEvent) -> tuple[Builds, list[Notice]]:
    """Return which refs are broken after an event, and what is told of it."""
    if not isinstance(event, BuildFinished):
        return state, []
    place = f"{event.repository} {event.ref}"
    before = state.get(place)
    if event.status == BuildStatus.FAILED.value and before is None:
        broken = Broken(seq, event.at)
        kept = dict(list(state.items())[-MAX_BROKEN + 1 :])
        return {**kept, place: broken}, [_broken(seq, event)]
    if event.status == BuildStatus.SUCCEEDED.value and before is not None:
        return {key: each for key, each in state.items() if key != place}, [_repaired(seq, event, before)]
    return state, []


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


def _repaired(seq: int, event: BuildFinished, before: Broken) -> Notice:
    return worded(
        seq,
        Kind.BUILD_REPAIRED,
        severity=Severity.INFO,
        incident=f"build-{event.repository}-{before.seq}",
        resolves=True,
        app=event.app,
        title=f"build of {event.repository} repaired: {_spoken(event.ref)}",
        reason=f"commit {event.commit[:12]} built {event.app} {event.version}",
        since=before.since,
        at=event.at,
        affected=[event.app],
        next_command=f"clarion packages {event.app}",
    )


def _spoken(ref: str) -> str:
    for prefix, noun in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
        if ref.startswith(prefix):
            return f"{noun} {ref[len(prefix) :]}"
    return ref
