"""Take away what nights that died have left: folders, containers, servers in clouds. What stays is paid for.

It is done before a night, and after it if something may be left. Only who holds the lock of nights may ask.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from clarion_controller.nightly.evening import Evening
from clarion_controller.nightly.ledger import Ledger
from clarion_controller.nightly.report import Check, Result
from clarion_controller.nightly.sweep_clouds import sweep_clouds
from clarion_controller.nightly.swept import Swept
from clarion_controller.nightly.work_folder import sweep_folders
from clarion_controller.provisioners.choose import nspawn_of
from clarion_controller.texts import count
from clarion_protocol.errors import ClarionError

NAME = "sweep"


@dataclass
class Sweeping:
    """The sweeps of one night; `gone` is all that they took away."""

    evening: Evening
    gone: list[str] = field(default_factory=list)

    def sweep(self) -> Check:
        """Return what was taken away so far, and what could not be or should be looked at; then it is broken."""
        began = time.monotonic()
        swept = self._swept()
        for each in swept.gone:
            self.evening.log(f"taken away, left by a night: {each}")
        self.gone += swept.gone
        return Check(
            name=NAME,
            result=Result.BROKEN if swept.troubles or swept.odd else Result.WORKS,
            reason=_reason(swept, len(self.gone)),
            findings=(*swept.odd, *swept.alive, *self.gone),
            seconds=time.monotonic() - began,
        )

    def is_needed_again(self) -> bool:
        """Return whether this night, or one before it, may have left something in a cloud."""
        try:
            return self.evening.wishes.servers and bool(Ledger(self.evening.home).runs())
        except ClarionError:
            return True  # which says why

    def _swept(self) -> Swept:
        swept = sweep_folders(self.evening.cluster)
        if os.geteuid() == 0:  # only root makes containers: what they left lies here, whatever is wanted tonight
            swept += self._containers()
        if self.evening.wishes.servers:
            swept += sweep_clouds(self.evening)
        return swept

    def _containers(self) -> Swept:
        try:
            return Swept(gone=nspawn_of(self.evening.cluster, "").sweep())
        except ClarionError as error:
            return Swept(troubles=[f"nspawn: {error.sentences}"])


def _reason(swept: Swept, gone: int) -> str:
    odd = f"{count(len(swept.odd), 'thing')} in a cloud to look at: not touched, and perhaps paid for"
    wrong = [*swept.troubles, *([odd] if swept.odd else [])]
    return "; ".join(wrong) or (f"took away what a night had left ({gone})" if gone else "nothing was left")
