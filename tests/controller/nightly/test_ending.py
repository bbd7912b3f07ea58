"""A night ends at its deadline, by SIGTERM or by Ctrl-C: once, and never while it tidies up."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from clarion_controller.nightly.ending import NightOver, interruptible, uninterrupted


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Check that a test leaves no signal handled otherwise than before."""
    numbers = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGTERM, "it was told to stop"), (signal.SIGINT, "somebody pressed Ctrl-C")],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_signal_ends_it(number: signal.Signals, reason: str) -> None:
    """As an exception that no step of the night catches by accident."""
    with uninterrupted(), pytest.raises(NightOver, match=reason), interruptible(60):
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except Exception:  # noqa: BLE001, S110
            pass


def test_the_deadline_ends_whatever_blocks() -> None:
    """Also a wait that has no time limit of its own."""
    began = time.monotonic()
    with uninterrupted(), pytest.raises(NightOver, match="the deadline was reached"), interruptible(0.2):
        subprocess.run(["sleep", "30"], check=False)
    assert time.monotonic() - began < 10


def test_nothing_ends_it_twice() -> None:
    """What is taken away after the first signal is not left half done because of a second."""
    taken_away = []
    with uninterrupted():
        with pytest.raises(NightOver), interruptible(0.3):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.5)
                taken_away.append("everything")
        os.kill(os.getpid(), signal.SIGTERM)
    assert taken_away == ["everything"]


def test_children_can_still_be_stopped() -> None:
    """A night that ignores signals does not make its children deaf."""
    with uninterrupted(), subprocess.Popen(["sleep", "30"]) as child:
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
