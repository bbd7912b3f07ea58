"""Nights broken and repaired: what newly breaks is told once, and once when it works again; pure.

What breaks in one night is one incident. It ends when all of it works again; until then each night that repairs a
part of it says so. A check that was skipped, or not come to, neither
breaks nor is repaired.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from msgspec.structs import replace

from clarion_controller.explain import listed
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.wording import counted, worded
from clarion_controller.state.events import AnyEvent, NightlyFinished


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """Checks that broke in the same night: one incident; `seq` numbers its event, `night` is the first of them."""

    seq: int
    since: float
    night: str
    checks: tuple[str, ...]

    @property
    def incident(self) -> str:
        """The name of the incident."""
        return f"nightly-{self.seq}"


Nights = tuple[Broken, ...]


def fold(state: Nights, seq: int, event: AnyEvent) -> tuple[Nights, list[Notice]]:
    """Return what is broken after an event, and what is told of it."""
    if not isinstance(event, NightlyFinished):
        return state, []
    works = set(event.working)
    left = [replace(group, checks=tuple(name for name in group.checks if name not in works)) for group in state]
    told = [
        _repaired(seq, event, before, after)
        for before, after in zip(state, left, strict=True)
        if after.checks != before.checks
    ]
    groups = tuple(group for group in left if group.checks)
    known = {name for group in groups for name in group.checks}
    if fresh := sorted(set(event.broken) - known):
        group = Broken(seq=seq, since=event.at, night=_first_night(event, fresh), checks=tuple(fresh))
        return (*groups, group), [*told, _broken(seq, event, group, known)]
    return groups, told


def _first_night(event: NightlyFinished, checks: Collection[str]) -> str:
    return min((event.since[name] for name in checks if name in event.since), default=event.night)


def _broken(seq: int, event: NightlyFinished, group: Broken, known: Collection[str]) -> Notice:
    first = group.checks[0]
    name = f"{first}: " if len(group.checks) > 1 else ""  # the title has the only one
    more = f"; also broken, since earlier: {listed(sorted(known))}" if known else ""
    return worded(
        seq,
        Kind.NIGHTLY_BROKEN,
        severity=Severity.WARNING,
        incident=group.incident,
        title=f"nightly of {event.night} broken: {listed(group.checks)}",
        reason=f"{name}{event.broken[first]} (since {group.night}); {_rest(event)}{more}",
        since=group.since,
        at=event.at,
        affected=group.checks,
        next_command="clarion nightly report",
    )


def _repaired(seq: int, event: NightlyFinished, before: Broken, after: Broken) -> Notice:
    works = [name for name in before.checks if name not in after.checks]
    still = f"; still broken: {listed(after.checks)}" if after.checks else ""
    notice = worded(
        seq,
        Kind.NIGHTLY_REPAIRED,
        severity=Severity.INFO,
        incident=before.incident,
        resolves=not after.checks,
        title=f"nightly of {event.night} repaired: {listed(works)}",
        reason=f"was broken since {before.night}{still}; now {_rest(event)}",
        since=before.since,
        at=event.at,
        affected=works,
        next_command="clarion nightly report",
    )
    # One night may repair a part of several incidents.
    return replace(notice, id=f"{notice.id}-{before.seq}")


def _rest(event: NightlyFinished) -> str:
    skipped = f", {event.skipped} skipped" if event.skipped else ""
    if not event.broken:
        return f"{counted(event.works, 'check')} working{skipped}"
    return f"{counted(len(event.broken), 'check')} broken, {event.works} working{skipped}"
