"""Which running builds are given up, for what their builder does not say or says for too long; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from clarion_controller.builds.build import Build
from clarion_protocol.amounts import Duration

SILENT_AFTER_S = 120.0
# What a builder takes beside building: ten minutes at most to fetch, some to hand over, and a controller that is
# away at the end is waited for a quarter of an hour.
GRACE_S = 1800.0

# Returns how long (s) a build of a repository may take.
LimitOf = Callable[[str], float]


def silent(heard: Mapping[str, float], now: float) -> list[str]:
    """Return the ids of the builds whose builder was `heard` of too long ago."""
    return [id_ for id_, at in heard.items() if now - at > SILENT_AFTER_S]


def overdue(running: Sequence[Build], limit_of: LimitOf, now: float) -> dict[str, str]:
    """Return why to give builds up, by their ids, that their builder should have ended long ago."""
    limits = {each.repository: limit_of(each.repository) for each in running}
    return {
        each.id: _sentence(limits[each.repository])
        for each in running
        if each.started_at is not None and now - each.started_at > limits[each.repository] + GRACE_S
    }


def _sentence(limit: float) -> str:
    spent = f"{Duration(limit)} to build and {Duration(GRACE_S)} to fetch and hand over are over"
    return f"given up: {spent}, whatever its builder says"
