"""SIGTERM and Ctrl-C, for programs whose main thread waits for an event."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from clarion_agent.stopping import set_at_signal

STOPPING = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers_of_before() -> Iterator[None]:
    """Leave the test runner's own handlers as they were."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    """A signal to stop ends the wait for the event."""
    stop = threading.Event()
    set_at_signal(stop)
    signal.raise_signal(number)
    assert stop.wait(timeout=10)


def test_a_signal_that_comes_while_the_event_is_locked_hangs_nobody() -> None:
    """A handler never touches the event's lock, which the very code that it interrupts may hold."""
    stop = _Locked()
    set_at_signal(stop)
    with stop.lock:
        for number in (*STOPPING, signal.SIGTERM):
            signal.raise_signal(number)
    assert stop.wait(timeout=10)


class _Locked(threading.Event):
    """An event whose lock a test can hold, as `wait` does for moments."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def set(self) -> None:
        if not self.lock.acquire(timeout=5):
            raise AssertionError("set waits for a lock that the interrupted code holds")
        try:
            super().set()
        finally:
            self.lock.release()
