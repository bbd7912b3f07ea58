"""How any thread wakes the one that sleeps in `poll`."""

from __future__ import annotations

import socket


class Bell:
    """Rung any number of times, it wakes its sleeper once."""

    def __init__(self) -> None:
        self._inside, self._outside = socket.socketpair()
        self._is_rung = False

    def fileno(self) -> int:
        """Return what the sleeper polls for reading."""
        return self._inside.fileno()

    def ring(self) -> None:
        """Wake the sleeper."""
        if not self._is_rung:
            self._is_rung = True
            self._outside.send(b"!")

    def hush(self) -> None:
        """Make it silent, before looking at what it was rung for."""
        self._inside.recv(4096)
        self._is_rung = False

    def close(self) -> None:
        """Give both ends back; ringing then does nothing."""
        self._is_rung = True
        self._inside.close()
        self._outside.close()
