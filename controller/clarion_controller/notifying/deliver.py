"""Delivering: one courier a destination, in order, each in a thread of its own, so that none waits for another.

A sender that does not come back in time is abandoned, and the next attempt runs in a fresh thread. A thread cannot be
ended, so when too many of one channel hang, the whole process ends instead and is begun anew.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from clarion_controller.notice import Undelivered
from clarion_controller.notifiers.text import line
from clarion_controller.notifying.outbox import Outbox, Pending
from clarion_controller.notifying.patience import Patience
from clarion_controller.notifying.trouble import Trouble
from clarion_protocol.errors import ClarionError

MAX_ERROR = 300
DISK_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)

Send = Callable[[Pending], str]


@dataclass
class Sending:
    """One attempt in its thread; `said` is what the destination wants remembered, or why it did not arrive."""

    send: Send
    pending: Pending
    said: str | Undelivered = ""
    is_over: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Begin the attempt."""
        threading.Thread(target=self._run, name=f"send {self.pending.destination}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.said = self.send(self.pending)
        except Undelivered as why:
            self.said = why
        except ClarionError as error:
            self.said = Undelivered(error.message)
        except Exception as error:  # noqa: BLE001 (outermost loop: whatever a sender does, the others go on)
            self.said = Undelivered(f"{type(error).__name__}: {error}")
        self.is_over.set()


@dataclass
class Courier:
    """Delivers what waits for one destination; `on_stuck` is called when too many of its senders hang."""

    destination: str
    outbox: Outbox
    send: Send
    on_stuck: Callable[[str], None]
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self._bell, self._is_stopping = threading.Event(), threading.Event()
        self._hung: list[Sending] = []
        self._trouble = Trouble()
        self._thread = threading.Thread(target=self._run, name=self.destination, daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def ring(self) -> None:
        """Say that something may wait."""
        self._bell.set()

    def stop(self) -> None:
        """Begin nothing any more; what is on its way is recorded if it ends soon."""
        self._is_stopping.set()
        self._bell.set()

    def join(self, patience: float) -> None:
        """Wait until nothing is on its way any more, at most for `patience` seconds."""
        self._thread.join(patience)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._bell.clear()
            try:
                self._bell.wait(self._turn())
            except Exception as error:  # noqa: BLE001 (outermost loop: a full disk must not end the deliveries)
                self._trouble.say("notifying.outbox_trouble", error, destination=self.destination)
                self._is_stopping.wait(DISK_PAUSE_S)

    def _turn(self) -> float | None:
        """Deliver what is due, if anything, and return how long (s) there is nothing to do; None: until it rings."""
        pending = self.outbox.first(self.destination)
        if pending is None:
            return None
        left = self.patience.left(pending, time.time())
        if left > 0:
            return left
        said = self._attempt(pending)
        while not self._is_recorded(pending, said):
            # It has been sent: to forget that would be to send it again.
            self._is_stopping.wait(DISK_PAUSE_S)
        return 0.0

    def _attempt(self, pending: Pending) -> str | Undelivered:
        self._hung = [each for each in self._hung if not each.is_over.is_set()]
        sending = Sending(self.send, pending)
        sending.begin()
        if sending.is_over.wait(self.patience.answer):
            return sending.said
        self._hung.append(sending)
        if len(self._hung) >= self.patience.hung:
            self.on_stuck(self.destination)
        return Undelivered(f"no answer within {self.patience.answer:g} s")

    def _is_recorded(self, pending: Pending, said: str | Undelivered) -> bool:
        try:
            self._record(pending, said, time.time())
        except Exception as error:  # noqa: BLE001 (a full disk; it is tried until it is there)
            self._trouble.say("notifying.not_recorded", error, destination=self.destination)
            return self._is_stopping.is_set()
        return True

    def _record(self, pending: Pending, said: str | Undelivered, now: float) -> None:
        facts = {"destination": self.destination, "notice": pending.subject, "attempt": pending.attempts + 1}
        if isinstance(said, str):
            self.outbox.sent(pending, said, now)
            _log.info("notifying.sent", **facts)
            return
        reason = line(said.reason, MAX_ERROR)
        next_at = self.patience.next_at(pending, said, now, random.random)
        if next_at is None:
            self.outbox.give_up(pending, reason, now)
            _log.error("notifying.given_up", reason=reason, **facts)
        else:
            self.outbox.failed(pending, reason, next_at)
            _log.warning("notifying.not_sent", reason=reason, again_in_s=round(next_at - now, 1), **facts)
