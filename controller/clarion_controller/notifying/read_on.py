"""Reading on in the log: what it says becomes rows of the outbox, each event once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import structlog

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.forges.derive import ForgeState, derive
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice
from clarion_controller.notifying.addressed import addressed, reported
from clarion_controller.notifying.derive import Known, fold, next_due, settle
from clarion_controller.notifying.outbox import DAY, Changes, Outbox, Standing
from clarion_controller.notifying.tail import PORTION, Entry, Tail
from clarion_protocol import strict_json

# Nobody wants to hear of last month when notices are switched on again.
STALE = 3 * DAY

_log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """How far the log was read, and what is known from it."""

    cursor: int
    known: Known = field(default_factory=Known)
    forges: ForgeState = field(default_factory=ForgeState)

    def written(self) -> Standing:
        """Return this as the outbox keeps it."""
        return Standing(self.cursor, strict_json.dumps(self.known), strict_json.dumps(self.forges))


class Reader:
    """Reads on from where it once was; the first time from the log's end, because nobody is told what is long over."""

    def __init__(self, tail: Tail, outbox: Outbox) -> None:
        self._tail, self._outbox = tail, outbox
        self._place = _place_of(outbox.standing(), tail.end())
        outbox.advance(Changes(self._place.written()))

    def is_due(self, now: float) -> bool:
        """Return whether something is to be told though nothing happens."""
        return next_due(self._place.known, now) is not None

    def read_on(self, fleet: Fleet, now: float) -> bool:
        """Put what the next portion of the log says into the outbox; return whether there is more to read."""
        entries = self._tail.after(self._place.cursor)
        is_more = len(entries) == PORTION
        after, notices, reports = _folded(self._place, entries)
        if not is_more:
            known, told = settle(after.known, now)
            after, notices = replace(after, known=known), [*notices, *told]
        if after != self._place:
            fresh = [notice for notice in notices if notice.at > now - STALE]
            self._keep(after, fresh, [report for report in reports if report.at > now - STALE], fleet)
        return is_more

    def _keep(self, after: Place, notices: Sequence[Notice], reports: Sequence[ForgeReport], fleet: Fleet) -> None:
        outgoing = [*addressed(notices, fleet, self._outbox.told), *reported(reports, fleet)]
        closed = {notice.incident for notice in notices if notice.resolves}
        self._outbox.advance(Changes(after.written(), outgoing, closed))
        # Only now: what was not written is read again.
        self._place = after


def _folded(place: Place, entries: Sequence[Entry]) -> tuple[Place, list[Notice], list[ForgeReport]]:
    known, forges = place.known, place.forges
    notices, reports = list[Notice](), list[ForgeReport]()
    for entry in entries:
        if entry.event is not None:
            known, told = fold(known, entry.seq, entry.event, entry.context)
            forges, for_forges = derive(forges, entry.seq, entry.event, entry.context.deployment)
            notices += told
            reports += for_forges
    return Place(entries[-1].seq if entries else place.cursor, known, forges), notices, reports


def _place_of(standing: Standing | None, end: int) -> Place:
    if standing is None:
        return Place(end)
    cursor = standing.cursor
    if cursor > end:
        # An older log, from a backup, or another: its next events would seem to be read already.
        _log.warning("notifying.log_is_shorter", read_to=cursor, end=end)
        cursor = end
    return Place(cursor, _decoded(standing.known, Known), _decoded(standing.forges, ForgeState))


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        _log.warning("notifying.memory_of_another_version", reason=str(error))
        return kind()
