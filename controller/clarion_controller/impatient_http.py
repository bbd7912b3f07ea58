"""uvicorn's HTTP, for ports that anybody can reach: who connects has to ask, and soon.

uvicorn itself waits for ever for the first request of a connection and for the rest of its headers, and each such
connection holds one of the controller's descriptors. What comes after the headers has time limits of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

LONGEST_S = 20.0


class ImpatientHttp(H11Protocol):
    """Hangs up on whoever has not sent the headers of a request within `longest` seconds."""

    longest = LONGEST_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait on, or no longer, as what came has it."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._calm()
        super().connection_lost(exc)

    @property
    def _is_asked(self) -> bool:
        """Whether a request is being answered: its headers have come."""
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_asked:
            self._calm()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.longest, self._hang_up)

    def _calm(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None

    def _hang_up(self) -> None:
        self._deadline = None
        if not self._is_asked:
            self.transport.close()
