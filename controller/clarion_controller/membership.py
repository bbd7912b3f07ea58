"""Who belongs to which environment now: what discovery believes, matched with who is enrolled."""

from __future__ import annotations

from dataclasses import dataclass

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.discovery import Discovery, check_known
from clarion_controller.matching import Member, match
from clarion_controller.state.roster import Host, Roster

# An answer that young (s) is not asked for again by a plan.
FRESH = 30.0


@dataclass(frozen=True)
class Membership:
    """The fleet of each environment; reading it never waits."""

    discovery: Discovery
    roster: Roster

    def members(self, environment: str) -> list[Member]:
        """Return the servers and agents of an environment, by name.

        Raises:
            UnknownName: no such environment.
            BadConfig: fleet.toml never could be read.
        """
        known = self.discovery.known(environment)
        has_answered = all(source.answered_at is not None for source in self.sources(environment))
        return match(known, self.roster.of(environment), is_complete=has_answered)

    def sources(self, environment: str) -> list[SourceAnswer]:
        """Return how each source of an environment is.

        Raises:
            UnknownName: no such environment.
        """
        return self.discovery.sources(environment)

    def is_listed(self, host: Host) -> bool:
        """Return whether some source lists the server of a host that has just joined, or none is asked.

        Raises:
            UnknownName: no such environment any more.
        """
        known = self.discovery.known(host.environment)
        if known is None:
            return True
        return any((each.instance or each.name) in (host.instance, host.name) for each in known)

    async def learn(self, environment: str, *, accept_shrink: bool) -> None:
        """Ask every source whose answer is old, and return if it is known which hosts there should be.

        Raises:
            UnknownName: no such environment.
            Blocked: a source does not answer, or lists far fewer hosts than before.
        """
        await self.discovery.refresh(environment, younger_than=FRESH)
        if accept_shrink:
            self.discovery.accept_shrink(environment)
        check_known(self.sources(environment), accept_shrink=accept_shrink)
