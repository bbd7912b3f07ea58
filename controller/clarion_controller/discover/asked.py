"""One source of one environment that has to be asked: what is believed of it, and when it is asked again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.discover.judge import Answer, Belief, accept, doubt, hear
from clarion_controller.fleet_toml.fleet import HostSource
from clarion_protocol.amounts import Share
from clarion_protocol.errors import ClarionError

POKE_INTERVAL = 5.0

_log = structlog.get_logger(__name__)


@dataclass
class Asked:
    """What is known of a source between two attempts to ask it; `stamp` tells whether its file has changed since."""

    environment: str
    config: HostSource
    belief: Belief = field(default_factory=Belief)
    attempt: asyncio.Task[None] | None = None
    tried_at: float | None = None
    poked_at: float | None = None
    jitter: float = 1.0
    stamp: tuple[int, int] | None = None

    @property
    def is_being_asked(self) -> bool:
        """Whether an attempt is under way."""
        return self.attempt is not None and not self.attempt.done()

    @property
    def is_poked(self) -> bool:
        """Whether something has happened since the last attempt that its answer cannot know of."""
        return self.poked_at is not None and (self.tried_at is None or self.poked_at >= self.tried_at)

    def is_due(self, every: float, now: float) -> bool:
        """Whether it is time for the next attempt, where one is made `every` so many seconds."""
        return self.is_older(POKE_INTERVAL if self.is_poked else every * self.jitter, now)

    def is_older(self, age: float, now: float) -> bool:
        """Whether the last attempt began `age` seconds ago or more; a clock that was set back knows nothing of it."""
        return self.tried_at is None or not 0 <= now - self.tried_at < age

    def hear(self, answer: Answer, max_shrink: Share) -> None:
        """Take what the source answered."""
        before, self.belief = self.belief, hear(self.belief, answer, max_shrink)
        if before.trouble:
            _log.info("discovery.recovered", environment=self.environment, source=self.config.label)
        if self.belief.offered and not before.offered:
            counts = {"listed": len(before.hosts), "lists": len(answer.hosts)}
            _log.warning("discovery.shrunk", environment=self.environment, source=self.config.label, **counts)

    def fail(self, error: ClarionError) -> None:
        """Remember why it cannot be asked; the log hears of each trouble once."""
        before, self.belief = self.belief.trouble, doubt(self.belief, error)
        if before is None or before.message != error.message:
            why = {"code": error.code, "reason": error.message, "hint": error.hint}
            _log.warning("discovery.trouble", environment=self.environment, source=self.config.label, **why)

    def accept(self) -> None:
        """Believe what it offers."""
        _log.warning("discovery.shrink_accepted", environment=self.environment, source=self.config.label)
        self.belief = accept(self.belief)


def answer_of(environment: str, config: HostSource, belief: Belief) -> SourceAnswer:
    """Return how a source is, as the API says it."""
    return SourceAnswer(
        environment=environment,
        source=config.label,
        hosts=len(belief.hosts),
        answered_at=belief.believed.at if belief.believed else None,
        trouble=belief.trouble.message if belief.trouble else "",
        hint=(belief.trouble.hint or "") if belief.trouble else "",
        offered=len(belief.offered.hosts) if belief.offered else None,
    )
