"""How a night ends before its end: at its deadline, by SIGTERM, or by Ctrl-C, always with everything taken away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = {
    signal.SIGALRM: "the deadline was reached",
    signal.SIGTERM: "it was told to stop",
    signal.SIGINT: "somebody pressed Ctrl-C",
}


class NightOver(BaseException):
    """Raised once in the main thread, wherever that is, like KeyboardInterrupt; `reason` says why.

    No `except Exception` catches it, and every `finally` on the way takes away what it made.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def interruptible(seconds: float) -> Iterator[None]:
    """Within, the end of `seconds` and signals to stop raise `NightOver`: the first of them; the others are ignored.

    From there on signals are ignored until `uninterrupted` ends, so that nothing keeps the night from tidying up.
    """
    for number in _SIGNALS:
        signal.signal(number, _raise)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        _ignore()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Within, no signal to stop does anything, except in `interruptible` parts; afterwards all is as it was."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _ignore()
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _raise(number: int, _frame: FrameType | None) -> None:
    _ignore()
    raise NightOver(_SIGNALS[signal.Signals(number)])


def _ignore() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _SIGNALS:
        # Not SIG_IGN: children would inherit it, and could not be stopped either.
        signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass
