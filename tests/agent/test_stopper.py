"""How an attempt is ended early, and when it is not."""

from __future__ import annotations

import threading

import pytest

from clarion_agent.stopper import Stopper
from clarion_protocol.errors import Interrupted


def test_an_attempt_that_is_told_to_stop_stops() -> None:
    """Whoever told it says why."""
    stopper = Stopper()
    stopper.check()
    stopper.interrupt("it was called off")
    with pytest.raises(Interrupted, match="it was called off"):
        stopper.wait(10)


def test_an_undo_is_not_interrupted_but_ends_with_the_agent() -> None:
    """Neither by what was said before, nor by what is said after."""
    stopper = Stopper()
    stopper.interrupt("before")
    stopper.ignore_interrupts()
    stopper.interrupt("after")
    stopper.check()
    stopper.stop_agent()
    with pytest.raises(SystemExit):
        stopper.wait(10)


def test_an_abort_in_the_very_moment_in_which_an_undo_begins_does_not_interrupt_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One thread has seen that it may interrupt, and the other begins to undo before it does."""
    stopper = Stopper()
    undo = threading.Thread(target=stopper.ignore_interrupts)

    class Told(threading.Event):
        def set(self) -> None:
            undo.start()
            undo.join(0.2)
            super().set()

    monkeypatch.setattr(stopper, "_told", Told())
    stopper.interrupt("called off")
    undo.join()
    stopper.check()
