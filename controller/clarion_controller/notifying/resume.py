"""Going on where the process was, whatever has become of its memory meanwhile.

- Nothing was ever read: it begins at the log's end, because nobody is told what is long over.
- What is known fits the log: it goes on.
- What is known is lost, of another version, or ahead of the log (a backup was restored): the log is read again from
  its beginning, in silence, so that it is known what is wrong now and who waits for the end of it.
- Whoever waits for the end of what is not open (any more) hears that it is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.notice import Notice
from clarion_controller.notifying.addressed import Audience, addressed
from clarion_controller.notifying.derive import open_incidents, settle
from clarion_controller.notifying.outbox import Changes, Outbox
from clarion_controller.notifying.place import Place, folded, read_place
from clarion_controller.notifying.tail import Tail
from clarion_controller.notifying.wording import no_longer_watched

_log = structlog.get_logger(__name__)

Knowing = dict[str, set[str]]  # who knows of which incident


@dataclass(frozen=True)
class Found:
    """What was found at a start: where it is, and who waits for the end of what, beside those whom the outbox has."""

    place: Place
    knowing: Knowing


def resume(tail: Tail, outbox: Outbox, fleet: Fleet, *, was_here: bool) -> Place:
    """Return the place from which to read on, written down; `was_here` says that people were told from here before."""
    now = time.time()
    found = _find(tail, outbox, fleet, now, was_here=was_here)
    is_open = open_incidents(found.place.known)
    over = {incident: at for incident, at in outbox.waited_for().items() if incident not in is_open}
    ends = [_end(incident, opened_at, now) for incident, opened_at in over.items()]
    outgoing = list(addressed(ends, Audience(fleet, outbox.told, now)))
    outbox.advance(Changes(found.place.written(), outgoing, over, found.knowing))
    return found.place


def _find(tail: Tail, outbox: Outbox, fleet: Fleet, now: float, *, was_here: bool) -> Found:
    standing, end = outbox.standing(), tail.end()
    if standing is None and not was_here:
        return Found(Place(end), {})
    place = read_place(standing) if standing else None
    if place and place.cursor <= end:
        return Found(place, {})
    _log.warning("notifying.memory_lost", read_to=standing.cursor if standing else None, end=end)
    # What was not read yet is still news.
    return _retraced(tail, min(standing.cursor, end) if standing else end, Audience(fleet, lambda _: set(), now))


def _retraced(tail: Tail, end: int, audience: Audience) -> Found:
    """Return what is known at `end`, read from the log's beginning without telling anybody."""
    place, knowing = Place(0), Knowing()
    while place.cursor < end and (entries := [entry for entry in tail.after(place.cursor) if entry.seq <= end]):
        place, notices, _ = folded(place, entries)
        knowing = _knowing(knowing, place, notices, audience)
    # What nobody waits for any more is withdrawn when it is read on, and told: whether that was done is lost, too.
    known, notices = settle(place.known, audience.now)
    place = replace(place, cursor=end, known=known)
    return Found(place, _knowing(knowing, place, notices, audience))


def _knowing(before: Knowing, place: Place, notices: list[Notice], audience: Audience) -> Knowing:
    """Return who has to know of what is open, after `notices` would have been told."""
    after = {incident: set(known) for incident, known in before.items()}
    for incident, destination in _openings(notices, audience):
        after.setdefault(incident, set()).add(destination)
    is_open = open_incidents(place.known)
    return {incident: known for incident, known in after.items() if incident in is_open}


def _openings(notices: list[Notice], audience: Audience) -> Iterator[tuple[str, str]]:
    for each in addressed([notice for notice in notices if notice.opens], audience):
        yield each.opens, each.destination


def _end(incident: str, opened_at: float, now: float) -> Notice:
    return no_longer_watched(
        incident,
        since=opened_at,
        at=now,
        title=f"no longer watched: {incident}",
        reason="how it ended was not seen; 'clarion status' shows how all is now",
    )
