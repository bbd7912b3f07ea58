"""Hosts that were refused because they claim to be a server that is enrolled: who looks into it wants to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rivals:
    """How often somebody else claimed an instance, and when last (UTC seconds); since the controller started."""

    count: int = 0
    last: float = 0.0

    def and_one(self, at: float) -> Rivals:
        """Return these and one more."""
        return Rivals(self.count + 1, at)
