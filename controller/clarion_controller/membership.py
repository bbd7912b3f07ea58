"""Who belongs to which environment now: what discovery believes, matched with who is enrolled."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.cluster import Cluster
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discovery import Discovery, check_known
from clarion_controller.matching import Member, match
from clarion_controller.state.roster import Host, Roster
from clarion_protocol.errors import BadConfig, ClarionError

# An answer that young (s) is not asked for again by a plan.
FRESH = 30.0


@dataclass
class Membership:
    """The fleet of each environment; reading it never waits, nor fails because fleet.toml was broken since."""

    cluster: Cluster
    discovery: Discovery
    roster: Roster

    def __post_init__(self) -> None:
        self._environments = sorted(self.cluster.fleet.environment)

    def environments(self) -> list[str]:
        """Return the environments that fleet.toml names, or named when it could last be read."""
        with suppress(BadConfig):
            self._environments = sorted(self.cluster.fleet.environment)
        return self._environments

    def members(self, environment: str) -> list[Member]:
        """Return the servers and agents of an environment, by name.

        Raises:
            UnknownName: no such environment.
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

    def welcome(self, host: Host) -> None:
        """Have the sources asked again soon if none of them lists a host that has just joined."""
        with suppress(ClarionError):  # whatever is wrong with the file or the environment is shown elsewhere
            known = self.discovery.known(host.environment)
            if known is not None and not any(_is_of(host, server) for server in known):
                self.discovery.poke(host.environment)

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


def _is_of(host: Host, server: Discovered) -> bool:
    return server.instance == host.instance if server.instance else server.name == host.name
