"""What this host is about to do to one app, written before it does it.

The intent is all that the danger zone needs: with it, an agent that was killed finishes or
undoes a switch without the network, without package metadata and without the signed order.
A journal that cannot be read is no journal: `write_atomic` never leaves half of one, so
there was none to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from clarion_agent import durable
from clarion_protocol import strict_json
from clarion_protocol.documents import Id, Name, Sentence, Sha256, StreamName, Time
from clarion_protocol.errors import ClarionError
from clarion_protocol.words import HostStatus, Stage

MAX_BYTES = 64 * 1024


class Phase(str, Enum):
    """Which way an app is moving."""

    SWITCHING = "switching"
    UNDOING = "undoing"
    GOING_BACK = "going_back"
    DONE = "done"


class Intent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attempt on one app: from which release to which, how far it has come, and what it came to.

    `before` is what `current` pointed to when it began; `lease_until` (UTC s) bounds how long an
    attempt that has not yet switched may be taken up again; `is_drained` is a debt; `is_rollback`
    is a deployment that was ordered as one; `went_back` says that a rollback inside it was carried out.
    """

    app: Name
    deployment: Id
    digest: Sha256
    stream: StreamName
    before: str | None
    to: str
    phase: Phase
    stage: Stage | None = None
    is_drained: bool = False
    is_rollback: bool = False
    went_back: bool = False
    lease_until: Time = 0
    bake_time: float = 0.0
    outcome: HostStatus | None = None
    reason: Sentence = ""
    error: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to finish or undo."""
        return self.phase is Phase.DONE


@dataclass(frozen=True)
class Journal:
    """The journal file of one app."""

    path: Path

    def read(self) -> Intent | None:
        """Return what is written, or None if there is nothing that can be read."""
        try:
            return strict_json.decode(self.path.read_bytes(), Intent, max_bytes=MAX_BYTES)
        except (FileNotFoundError, ClarionError):
            return None

    def write(self, intent: Intent) -> None:
        """Make `intent` what a restarted agent will find."""
        durable.write_atomic(self.path, strict_json.dumps(intent))
