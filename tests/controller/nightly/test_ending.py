"""A night ends at its deadline, by SIGTERM or by Ctrl-C: once, and never while it tidies up."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from clarion_controller.nightly.ending import NightOver, interruptible, uninterrupted


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Check that a test leaves no signal handled otherwise than before."""
    numbers = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def end_oneself(*numbers: signal.Signals) -> None:
    """Get these signals, one after the other, and wait for what they do."""
    for number in numbers:
        os.kill(os.getpid(), number)
    time.sleep(1)


def begin(work: Callable[[], object], seconds: float = 60) -> None:
    """Do something that may be interrupted."""
    with uninterrupted(), interruptible(seconds):
        work()


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGTERM, "it was told to stop"), (signal.SIGINT, "somebody pressed Ctrl-C")],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_signal_ends_it(number: signal.Signals, reason: str) -> None:
    """As an exception that no step of the night catches by accident."""

    def step() -> None:
        with suppress(Exception):
            end_oneself(number)

    with pytest.raises(NightOver, match=reason):
        begin(step)


def test_the_deadline_ends_whatever_blocks() -> None:
    """Also a wait that has no time limit of its own."""
    began = time.monotonic()
    with pytest.raises(NightOver, match="the deadline was reached"):
        begin(lambda: subprocess.run(["sleep", "30"], check=False), seconds=0.2)
    assert time.monotonic() - began < 10


def test_nothing_ends_it_twice() -> None:
    """What is taken away after the first signal is not left half done because of a second, or of the deadline."""
    taken_away = []

    def step() -> None:
        try:
            end_oneself(signal.SIGTERM)
        finally:
            end_oneself(signal.SIGTERM, signal.SIGINT)
            taken_away.append("everything")

    with pytest.raises(NightOver, match="it was told to stop"):
        begin(step, seconds=0.5)
    assert taken_away == ["everything"]


def test_what_tidies_up_is_not_interrupted() -> None:
    """Before and after the part that may be."""
    with uninterrupted():
        end_oneself(signal.SIGTERM)
        with interruptible(60):
            pass
        end_oneself(signal.SIGINT)


def test_children_can_still_be_stopped() -> None:
    """A night that ignores signals does not make its children deaf."""
    with uninterrupted(), subprocess.Popen(["sleep", "30"]) as child:
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
