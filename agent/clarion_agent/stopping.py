"""SIGTERM and Ctrl-C, for programs whose main thread waits for an event."""

from __future__ import annotations

import signal
import threading
from queue import SimpleQueue


def set_at_signal(stop: threading.Event) -> None:
    """Have SIGTERM and SIGINT set `stop`, however many of them come at once.

    An event set in a signal handler waits for its own lock for ever, if the signal came while the main thread held it;
    and signals come in pairs, as the terminal sends Ctrl-C to sudo and to what sudo runs, and sudo passes it on.
    """
    asked: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.put(number))  # the one way that may interrupt itself

    def wait() -> None:
        asked.get()
        stop.set()

    threading.Thread(target=wait, name="stopping", daemon=True).start()
