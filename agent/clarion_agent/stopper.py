"""How what an app's worker does is ended early."""

from __future__ import annotations

import threading

from clarion_protocol.errors import Interrupted


class Stopper:
    """How an attempt is told to end early; every wait of a step goes through it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = threading.Event()
        self._reason = ""
        self._agent_stops = False
        self._is_deaf = False

    def interrupt(self, reason: str) -> None:
        """Make the next `check` raise, unless the attempt is already being undone."""
        with self._lock:
            if not self._is_deaf:
                self._reason = reason
                self._told.set()

    def stop_agent(self) -> None:
        """Make the attempt's thread end where it is; the journal says where to go on."""
        with self._lock:
            self._agent_stops = True
            self._told.set()

    def ignore_interrupts(self) -> None:
        """From now on only the agent's own end stops this attempt: an undo is not interrupted."""
        with self._lock:
            self._is_deaf = True
            if not self._agent_stops:
                self._told.clear()

    def check(self) -> None:
        """Return if the attempt may go on.

        Raises:
            Interrupted: an abort, a rollback or a newer deployment came first.
            SystemExit: the agent stops. Not an error, so nothing is undone.
        """
        if self._agent_stops:
            raise SystemExit
        if self._told.is_set():
            raise Interrupted(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until told to stop.

        Raises:
            Interrupted, SystemExit: as `check` does.
        """
        self.check()
        self._told.wait(seconds)
        self.check()
