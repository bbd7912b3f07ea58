"""What a sweep did: what it took away, what it left alone, what somebody should look at, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clarion_protocol.errors import ClarionError


@dataclass
class Swept:
    """What a sweep did, in sentences; `odd` is what it did not touch and somebody should look at."""

    gone: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __iadd__(self, other: Swept) -> Swept:
        self.gone += other.gone
        self.alive += other.alive
        self.odd += other.odd
        self.troubles += other.troubles
        return self

    @contextmanager
    def noting(self, what: str = "") -> Iterator[None]:
        """Within, an error ends the block and is a trouble, of `what`; the sweep goes on after it."""
        try:
            yield
        except ClarionError as error:
            self.troubles.append(f"{what}: {error.sentences}" if what else error.sentences)
