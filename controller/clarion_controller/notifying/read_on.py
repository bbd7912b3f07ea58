"""Reading on in the log: what it says becomes rows of the outbox, each event once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice
from clarion_controller.notifying.addressed import Audience, addressed, reported
from clarion_controller.notifying.derive import next_due, settle, withdraw
from clarion_controller.notifying.outbox import DAY, Changes, Outbox
from clarion_controller.notifying.place import Place, folded
from clarion_controller.notifying.tail import PORTION, Tail

# Nobody wants to hear of last month when notices are switched on again.
STALE = 3 * DAY


class Reader:
    """Reads on from `place`."""

    def __init__(self, tail: Tail, outbox: Outbox, place: Place) -> None:
        self._tail, self._outbox, self._place = tail, outbox, place

    def is_due(self, now: float) -> bool:
        """Return whether something is to be told though nothing happens."""
        return next_due(self._place.known, now) is not None

    def read_on(self, fleet: Fleet, now: float) -> bool:
        """Put what the next portion of the log says into the outbox; return whether there is more to read."""
        entries = self._tail.after(self._place.cursor)
        is_more = len(entries) == PORTION
        after, notices, reports = folded(self._place, entries)
        if not is_more:
            after, notices = _up_to_now(after, notices, fleet, now)
        if after != self._place:
            self._keep(after, notices, reports, Audience(fleet, self._outbox.told, now, now - STALE))
        return is_more

    def _keep(
        self, after: Place, notices: Sequence[Notice], reports: Sequence[ForgeReport], audience: Audience
    ) -> None:
        outgoing = [*addressed(notices, audience), *reported(reports, audience)]
        closed = {notice.incident for notice in notices if notice.resolves}
        self._outbox.advance(Changes(after.written(), outgoing, closed))
        # Only now: what was not written is read again.
        self._place = after


def _up_to_now(place: Place, notices: Sequence[Notice], fleet: Fleet, now: float) -> tuple[Place, list[Notice]]:
    """Return what is known now, and all that is told: nothing begins in a place that fleet.toml does not have."""
    known, due = settle(place.known, now)
    known, ends = withdraw(known, fleet, now)
    over = {notice.incident for notice in ends}
    begun = [notice for notice in (*notices, *due) if notice.incident not in over]
    return replace(place, known=known), [*begun, *ends]
