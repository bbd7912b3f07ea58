"""The loop that reads on and the couriers that deliver, for as long as there is anybody to tell.

What goes wrong here passes or ends the process, and the log is still there: a disk that is full is waited for; an
outbox that is damaged or gone, and senders that hang for ever, are begun anew with a fresh process.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import structlog

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.notifying.deliver import Courier
from clarion_controller.notifying.destinations import destinations, renamed
from clarion_controller.notifying.fleet_file import FleetFile
from clarion_controller.notifying.notices_file import is_damage
from clarion_controller.notifying.outbox import DAY, Outbox
from clarion_controller.notifying.post import Post
from clarion_controller.notifying.read_on import Reader
from clarion_controller.notifying.resume import resume
from clarion_controller.notifying.tail import Tail
from clarion_controller.notifying.trouble import Trouble

LOOK_EVERY_S = 0.5
TROUBLE_PAUSE_S = 5.0
LAST_MOMENT_S = 1.0

_log = structlog.get_logger(__name__)


class Teller:
    """Reads on and has it delivered; `was_here` says that people were told from this home before."""

    def __init__(self, home: Path, tail: Tail, outbox: Outbox, *, was_here: bool) -> None:
        self._tail, self._outbox, self._was_here = tail, outbox, was_here
        self._file = FleetFile(home)
        self._post = Post(home, lambda: self._file.fleet)
        self._couriers: dict[str, Courier] = {}
        self.stop = threading.Event()  # set: `run` returns
        self._status = 0
        self._pruned_at = 0.0
        self._trouble = Trouble()

    def run(self, parent: int) -> int:
        """Read on until the end, or that of the process `parent`; return the exit status.

        Raises:
            DatabaseError: the disk takes nothing, so there is no beginning.
        """
        while not (self._file.has_changed() or self._is_over(parent)):
            self.stop.wait(LOOK_EVERY_S)
        if self._file.fleet is not None:
            self._read_on(self._file.fleet, parent)
        self._end()
        return self._status

    def _read_on(self, fleet: Fleet, parent: int) -> None:
        reader = Reader(self._tail, self._outbox, resume(self._tail, self._outbox, fleet, was_here=self._was_here))
        self._employ(fleet)
        _log.info("notifying.ready", destinations=list(self._couriers))
        is_behind = True
        while not self._is_over(parent):
            try:
                is_behind = self._turn(reader, fleet, is_behind=is_behind)
                fleet = self._file.fleet or fleet
            except Exception as error:  # noqa: BLE001 (outermost loop: a full disk passes, and the log is still there)
                self._fail(error)
                is_behind = True
                self.stop.wait(TROUBLE_PAUSE_S)
            if not is_behind:
                self.stop.wait(LOOK_EVERY_S)

    def _is_over(self, parent: int) -> bool:
        return self.stop.is_set() or os.getppid() != parent

    def _turn(self, reader: Reader, before: Fleet, *, is_behind: bool) -> bool:
        """Do what there is to do, and return whether there is more."""
        now = time.time()
        if not self._outbox.path.exists():
            self._begin_anew("notifying.outbox_gone", path=str(self._outbox.path))
        has_changed = self._file.has_changed()
        fleet = self._file.fleet or before
        if has_changed:
            self._employ(fleet, before)
        # Not "later than": a clock that was set back would keep everything.
        is_new_day = abs(now - self._pruned_at) > DAY
        if is_new_day:
            self._outbox.prune(now)
            self._pruned_at = now
        if not (self._tail.has_grown() or reader.is_due(now) or is_behind or has_changed or is_new_day):
            return False
        is_more = reader.read_on(fleet, now)
        for courier in self._couriers.values():
            courier.ring()
        return is_more

    def _employ(self, fleet: Fleet, before: Fleet | None = None) -> None:
        """Have one courier for each destination of fleet.toml, and none for others."""
        wanted = destinations(fleet)
        for gone in [each for each in self._couriers if each not in wanted]:
            self._couriers.pop(gone).stop()
        for old, new in renamed(before, fleet).items():
            self._outbox.rename(old, new)
        self._outbox.abandon(wanted, time.time())
        for new in [each for each in wanted if each not in self._couriers]:
            self._couriers[new] = Courier(new, self._outbox, self._post.send, self._senders_hang)
            self._couriers[new].start()
        for courier in self._couriers.values():
            courier.ring()

    def _fail(self, error: Exception) -> None:
        if is_damage(error):
            self._begin_anew("notifying.outbox_damaged", reason=str(error))
        else:
            self._trouble.say("notifying.turn_failed", error)

    def _senders_hang(self, destination: str) -> None:
        """Nothing else ends the threads that hang in this process."""
        self._begin_anew("notifying.senders_hang", destination=destination)

    def _begin_anew(self, event: str, **facts: str) -> None:
        """End the process; the controller begins it anew."""
        _log.error(event, **facts)
        self._status = 1
        self.stop.set()

    def _end(self) -> None:
        """Let what is on its way arrive, if that takes a moment: unrecorded, it would be sent again."""
        until = time.monotonic() + LAST_MOMENT_S
        for courier in self._couriers.values():
            courier.stop()
        for courier in self._couriers.values():
            courier.join(max(0.0, until - time.monotonic()))
        _log.info("notifying.ended")
