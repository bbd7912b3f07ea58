"""The end of what programs say, kept in memory: the disk may be what they complain about."""

from __future__ import annotations

import os
import selectors
import subprocess
import time

from clarion_agent.printable import printable

TAIL = 4000
_KEPT = 4 * TAIL
_MOST_AT_ONCE = 65_536
_PAUSE_S = 0.01


class Words:
    """What a program says that was started with pipes for its input and output."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 (for the type checker)
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._tail = bytearray()
        os.set_blocking(self._stdout.fileno(), False)

    def say(self, text: str) -> None:
        """Give it a short text as its input, and no more."""
        try:
            self._stdin.write(text.encode())
            self._stdin.close()
        except BrokenPipeError:
            pass  # it does not listen, and says why

    def listen(self, seconds: float) -> None:
        """Listen for so long, or until it has said something or ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.select(seconds)
        if not self._hear():
            time.sleep(_PAUSE_S)  # the pipe is closed, and its end is a moment away

    def last(self) -> str:
        """Return the end of what it said, as harmless text; it must have ended."""
        for _ in range(_KEPT // 1024):  # a pipe's worth, not more than that of something that does not stop
            if not self._hear():
                break
        self._stdout.close()
        return printable(bytes(self._tail), TAIL).strip()

    def _hear(self) -> bool:
        try:
            heard = os.read(self._stdout.fileno(), _MOST_AT_ONCE)
        except BlockingIOError:
            return False
        self._tail += heard
        del self._tail[:-_KEPT]
        return bool(heard)
