"""Whether what a source answers is believed: pure.

- The first answer is believed.
- A later one is only offered if more than `max_shrink` of the hosts believed in are missing from it, or all of
  them: that is how an outage, a lost permission or a typo in a tag looks.
- An error changes nothing except that it is shown; an answer, believed or not, ends the trouble.
- What is offered is believed once somebody says that it is true.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from clarion_controller.discover.discovered import Discovered
from clarion_protocol.amounts import Share
from clarion_protocol.errors import ClarionError


class Answer(msgspec.Struct, frozen=True):
    """Which hosts a source listed, and when."""

    hosts: tuple[Discovered, ...]
    at: float


@dataclass(frozen=True)
class Belief:
    """What is believed of one source, what it offers instead, and why it cannot be asked now."""

    believed: Answer | None = None
    offered: Answer | None = None
    trouble: ClarionError | None = None

    @property
    def hosts(self) -> tuple[Discovered, ...]:
        """The hosts that are believed in."""
        return self.believed.hosts if self.believed else ()

    @property
    def latest(self) -> Answer | None:
        """The last answer, believed or not."""
        return self.offered or self.believed


def hear(belief: Belief, answer: Answer, max_shrink: Share) -> Belief:
    """Return what is believed after a source answered."""
    before = belief.believed
    if before and _shrank_too_much(before, answer, max_shrink):
        return Belief(believed=before, offered=answer)
    if before and before.hosts == answer.hosts:
        answer = Answer(before.hosts, answer.at)  # one copy of a big fleet is enough
    return Belief(believed=answer)


def doubt(belief: Belief, trouble: ClarionError) -> Belief:
    """Return what is believed after a source could not be asked."""
    return replace(belief, trouble=trouble)


def accept(belief: Belief) -> Belief:
    """Return what is believed after somebody said that the fleet did shrink."""
    return replace(belief, believed=belief.offered, offered=None) if belief.offered else belief


def _shrank_too_much(before: Answer, after: Answer, max_shrink: Share) -> bool:
    known = _identities(before.hosts)
    missing = len(known - _identities(after.hosts))
    return missing > 0 and (missing == len(known) or missing > max_shrink.of(len(known)))


def _identities(hosts: Iterable[Discovered]) -> set[str]:
    return {host.instance or f"name:{host.name}" for host in hosts}
