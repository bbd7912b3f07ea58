"""How far the log was read, and what is known from it: pure but for a word in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import structlog

from clarion_controller.forges.derive import ForgeState, derive
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice
from clarion_controller.notifying.derive import Known, fold
from clarion_controller.notifying.outbox import Standing
from clarion_controller.notifying.tail import Entry
from clarion_protocol import strict_json

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


def read_place(standing: Standing) -> Place | None:
    """Return the place that the outbox kept; None if what people know of cannot be read from it."""
    known = _decoded(standing.known, Known)
    if known is None:
        return None
    return Place(standing.cursor, known, _decoded(standing.forges, ForgeState) or ForgeState())


def folded(place: Place, entries: Sequence[Entry]) -> tuple[Place, list[Notice], list[ForgeReport]]:
    """Return the place after a portion of the log, and what it gives rise to."""
    known, forges = place.known, place.forges
    notices, reports = list[Notice](), list[ForgeReport]()
    for entry in entries:
        if entry.event is not None:
            known, told = fold(known, entry.seq, entry.event, entry.context)
            forges, for_forges = derive(forges, entry.seq, entry.event, entry.context.deployment)
            notices += told
            reports += for_forges
    return Place(entries[-1].seq if entries else place.cursor, known, forges), notices, reports


def _decoded(raw: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        _log.warning("notifying.memory_of_another_version", what=kind.__name__, reason=str(error))
        return None
