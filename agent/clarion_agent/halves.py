"""The one small interface between the agent's two halves.

The *net* half (`clarion_agent.net`) faces the network: ZeroMQ, HTTP, package metadata. The
*core* half (`clarion_agent.core`, `.deploy`, `.stages`) changes the host and believes
nothing that it has not verified itself. They share a process today; because they meet
only here, a socket can come between them without either noticing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from clarion_protocol.documents import Head, Progress, Running


class Core(Protocol):
    """What the net half may ask of the core half."""

    def offer(self, envelope: bytes) -> None:
        """Take a signed deployment, signal or beacon from wherever it came.

        Returns at once; the work happens elsewhere.

        Raises:
            SignalError: it is not believed; nothing was changed.
            TrustStateLost: this host no longer knows what it has accepted.
        """

    def heads(self) -> dict[str, Head]:
        """Return the newest deployment and signal sequence accepted in each stream."""

    def missed(self) -> bool:
        """Return whether a beacon has shown something newer than `heads`."""

    def running(self) -> list[Running]:
        """Return what each app on this host runs now."""


class Net(Protocol):
    """What the core half may ask of the net half. Whatever it brings is verified by the core."""

    def refresh(self) -> None:
        """Bring the package metadata below `trust/tuf` up to date.

        Raises:
            NetworkError: the store is not there, or does not behave.
        """

    def fetch(self, path: str, into: Path, spans: Sequence[tuple[int, int]], *, total: int) -> None:
        """Write bytes of the store's file `path` to the file `into`, each span at its own offset.

        `spans` are (offset, length) in bytes, sorted and apart; `total` is the whole file's length.

        Raises:
            NetworkError: the store is not there, or does not behave.
            NoSpace: the disk is full.
        """

    def report(self, progress: Progress) -> None:
        """Queue a report; it survives restarts and is repeated until the controller has it."""
