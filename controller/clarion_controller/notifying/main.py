"""The process that tells people: `python -m clarion_controller.notifying.main HOME PARENT`, kept running by `serve`.

1. hold the lock     one to a home: two would tell everything twice
2. open              the log for reading, the outbox for writing
3. deliver           a courier for each channel and each forge, as fleet.toml says
4. read on           each new portion of the log: outbox first, then ring
5. end               at SIGTERM, or when the controller that began it is gone

A controller that waits for nothing here cannot be held up by anything here.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import structlog

from clarion_agent.logs import begin_logging
from clarion_agent.stopping import set_at_signal
from clarion_controller.notifying.deliver import Courier
from clarion_controller.notifying.destinations import destinations
from clarion_controller.notifying.fleet_file import FleetFile
from clarion_controller.notifying.outbox import DAY, Outbox
from clarion_controller.notifying.post import Post
from clarion_controller.notifying.read_on import Reader
from clarion_controller.notifying.tail import Tail
from clarion_protocol.errors import Blocked, ClarionError

LOOK_EVERY_S = 0.5
TROUBLE_PAUSE_S = 5.0
LAST_MOMENT_S = 1.0

_log = structlog.get_logger(__name__)


def main() -> None:
    """Tell people until SIGTERM."""
    begin_logging()
    home, parent = Path(sys.argv[1]), int(sys.argv[2])
    try:
        sys.exit(run(home, parent))
    except ClarionError as error:
        _log.error("notifying.cannot_begin", reason=error.message, hint=error.hint)
        sys.exit(1)


def run(home: Path, parent: int) -> int:
    """Tell people what the log of `home` says until SIGTERM, or the end of `parent`; return the exit status.

    Raises:
        Blocked: another process does already.
        BadConfig: the log cannot be read or the outbox cannot be used.
    """
    with ExitStack() as stack:
        stack.enter_context(_only_one(home))
        tail = stack.enter_context(closing(Tail(home)))
        outbox = stack.enter_context(closing(Outbox(home)))
        notifying = Notifying(home, tail, outbox)
        set_at_signal(notifying.stop)
        return notifying.run(parent)


class Notifying:
    """The loop that reads on and the couriers that deliver."""

    def __init__(self, home: Path, tail: Tail, outbox: Outbox) -> None:
        self._tail, self._outbox = tail, outbox
        self._file = FleetFile(home)
        self._post = Post(home, lambda: self._file.fleet)
        self._couriers: dict[str, Courier] = {}
        self.stop = threading.Event()  # set: `run` returns
        self._status = 0
        self._pruned_at = 0.0

    def run(self, parent: int) -> int:
        """Read on until the end, or that of the process `parent`; return the exit status."""
        self._file.has_changed()
        self._employ()
        reader = Reader(self._tail, self._outbox)
        _log.info("notifying.ready", destinations=list(self._couriers))
        is_behind = True
        while not self.stop.is_set() and os.getppid() == parent:
            try:
                is_behind = self._turn(reader, is_behind=is_behind)
            except Exception:  # noqa: BLE001 (outermost loop: a full disk passes, and the log is still there)
                _log.exception("notifying.turn_failed")
                is_behind = True
                self.stop.wait(TROUBLE_PAUSE_S)
            if not is_behind:
                self.stop.wait(LOOK_EVERY_S)
        self._end()
        return self._status

    def _turn(self, reader: Reader, *, is_behind: bool) -> bool:
        """Do what there is to do, and return whether there is more."""
        now = time.time()
        if self._file.has_changed():
            self._employ()
        if now > self._pruned_at + DAY:
            self._outbox.prune(now)
            self._pruned_at = now
        if not (self._tail.has_grown() or reader.is_due(now) or is_behind):
            return False
        is_more = reader.read_on(self._file.fleet, now)
        for courier in self._couriers.values():
            courier.ring()
        return is_more

    def _employ(self) -> None:
        """Have one courier for each destination of fleet.toml, and none for others."""
        wanted = destinations(self._file.fleet)
        for gone in [each for each in self._couriers if each not in wanted]:
            self._couriers.pop(gone).stop()
        self._outbox.abandon(wanted, time.time())
        for new in [each for each in wanted if each not in self._couriers]:
            self._couriers[new] = Courier(new, self._outbox, self._post.send, self._begin_anew)
            self._couriers[new].start()
        for courier in self._couriers.values():
            courier.ring()

    def _begin_anew(self, destination: str) -> None:
        """End the process, because nothing else ends the threads that hang in it."""
        _log.error("notifying.senders_hang", destination=destination)
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


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with (home / "state" / "notifying.lock").open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Blocked(
                f"people are told from {home} already", hint="It is begun by 'clarion serve' alone."
            ) from error
        yield


if __name__ == "__main__":
    main()
