"""Nights broken and repaired: what newly breaks is told once, and once when it works again; pure.

- What breaks in one night is one incident. It ends when all of it works again; until then each night that repairs a
  part of it says so.
- A check that was skipped, or not come to, neither breaks nor is repaired; one of which no night said anything for a
  week (its role, app or environment is gone) is not waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from clarion_controller.explain import listed
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.wording import counted, no_longer_watched, worded
from clarion_controller.state.events import AnyEvent, NightlyFinished

FORGOTTEN = 7 * 86_400.0


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """Checks that broke in the same night: one incident; `seq` numbers its event, `night` is the first of them.

    `decided` is when a night last said of each whether it works.
    """

    seq: int
    since: float
    night: str
    checks: tuple[str, ...]
    decided: Mapping[str, float] = {}

    @property
    def incident(self) -> str:
        """The name of the incident."""
        return f"nightly-{self.seq}"


Nights = tuple[Broken, ...]


def fold(state: Nights, seq: int, event: AnyEvent) -> tuple[Nights, list[Notice]]:
    """Return what is broken after an event, and what is told of it."""
    if not isinstance(event, NightlyFinished):
        return state, []
    left = [_after(group, event) for group in state]
    told = [notice for before, after in zip(state, left, strict=True) for notice in _relief(seq, event, before, after)]
    groups = tuple(group for group in left if group.checks)
    known = {name for group in groups for name in group.checks}
    if fresh := sorted(set(event.broken) - known):
        group = Broken(
            seq=seq,
            since=event.at,
            night=_first_night(event, fresh),
            checks=tuple(fresh),
            decided=dict.fromkeys(fresh, event.at),
        )
        return (*groups, group), [*told, _broken(seq, event, group, known)]
    return groups, told


def _after(group: Broken, event: NightlyFinished) -> Broken:
    """Return what is still broken of a group after a night, as far as anybody waits for it."""
    # What an older version wrote does not say when a check was last decided.
    known = {name: group.decided.get(name, event.at) for name in group.checks if name not in event.working}
    decided = {name: event.at if name in event.broken else at for name, at in known.items()}
    awaited = {name: at for name, at in decided.items() if event.at - at <= FORGOTTEN}
    return replace(group, checks=tuple(awaited), decided=awaited)


def _relief(seq: int, event: NightlyFinished, before: Broken, after: Broken) -> Iterator[Notice]:
    """Yield what is told of a group of which less is broken now."""
    if set(before.checks) & set(event.working):
        yield _repaired(seq, event, before, after)
    elif not after.checks:
        yield no_longer_watched(
            before.incident,
            since=before.since,
            at=event.at,
            title=f"nightly does not check any more: {listed(before.checks)}",
            reason=f"was broken since {before.night}, and no night has said anything of it for a week",
        )


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
    works = [name for name in before.checks if name in event.working]
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
