"""Work handed from other threads to a thread that sleeps in `poll`."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator


class Mailbox:
    """Any thread posts; the one thread that polls `fileno` takes out. One byte wakes it for any number of letters."""

    def __init__(self) -> None:
        self._letters: deque[Callable[[], object]] = deque()
        self._is_rung = False
        self._bell, self._ringer = socket.socketpair()

    def fileno(self) -> int:
        """Return what to poll for reading."""
        return self._bell.fileno()

    def post(self, letter: Callable[[], object]) -> None:
        """Have `letter` called by the thread that takes it out."""
        self._letters.append(letter)
        if not self._is_rung:
            self._is_rung = True
            self._ringer.send(b"!")

    def letters(self) -> Iterator[Callable[[], object]]:
        """Take out all letters, in order."""
        self._bell.recv(4096)
        # Before the letters are taken: whoever posts from now on rings again.
        self._is_rung = False
        while self._letters:
            yield self._letters.popleft()

    def close(self) -> None:
        """Give both ends back; letters posted from now on are never read."""
        self._is_rung = True
        self._bell.close()
        self._ringer.close()
