"""Where a deployment stands: a value that `apply` folds from its events, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from clarion_protocol.documents import Deployment
from clarion_protocol.errors import Interrupted
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """One host in one deployment; `told` is the last verb it was signalled, `lost_as` what it was when it got lost.

    `added_at` is when it was brought in, if it was not there from the beginning.
    """

    name: str
    status: HostStatus = HostStatus.PENDING
    reason: str = ""
    error: str = ""
    since: float = 0.0
    told: Verb | None = None
    lease_until: float = 0.0
    has_switched: bool = False
    moves: int = 0
    lost_as: HostStatus | None = None
    added_at: float = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether nobody knows how this host is."""
        return self.status is HostStatus.UNREACHABLE

    @property
    def has_failed(self) -> bool:
        """Whether this host tried and is not on the new release, though nobody called it off."""
        return self.status in (HostStatus.FAILED, HostStatus.ROLLED_BACK) and not self.was_called_off

    @property
    def was_called_off(self) -> bool:
        """Whether this host went back in the middle of its switch because it was told to."""
        is_back = self.status is HostStatus.ROLLED_BACK and self.error == Interrupted.code
        return is_back and self.told in (Verb.ABORT, Verb.ROLLBACK)

    @property
    def is_done(self) -> bool:
        """Whether this host runs the release for good."""
        return self.status is HostStatus.COMMITTED

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is expected of this host in this deployment."""
        return self.status.is_final

    @property
    def had_lease(self) -> bool:
        """Whether this host was last told that it has a lease, or has it no more, which it may not have heard."""
        return self.told in (Verb.LEASE, Verb.PAUSE)

    @property
    def is_staging(self) -> bool:
        """Whether this host can be reached and has not got the release ready yet."""
        return not (self.is_settled or self.is_lost or self.status is HostStatus.STAGED)

    @property
    def awaits_lease(self) -> bool:
        """Whether this host has the release ready and no right to switch yet."""
        return self.status is HostStatus.STAGED and not self.had_lease

    @property
    def is_held_back(self) -> bool:
        """Whether a pause took this host's lease back before it was used."""
        return self.status is HostStatus.STAGED and self.told is Verb.PAUSE

    @property
    def is_in_change(self) -> bool:
        """Whether this host holds a lease, used or not, or keeps the place of one, and has not settled."""
        return self.status.is_in_change or (self.status is HostStatus.STAGED and self.had_lease)

    @property
    def may_run_it(self) -> bool:
        """Whether this host runs the new release, is about to, or got lost while it had the right to."""
        return self.is_in_change or self.status is HostStatus.COMMITTED or (self.is_lost and self.had_lease)


class RolloutState(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment's walk: its hosts by id, the names without agent, and why it is as it is.

    `gone` is what those do who have left the fleet: they count no more, and go on where they were if they come back.
    So do hosts that heard of it before any source listed them; they have no name there.
    """

    deployment: Deployment
    digest: str
    accepted_at: float
    hosts: Mapping[str, HostState]
    absent: tuple[str, ...] = ()
    gone: Mapping[str, HostState] = {}
    actor: str = ""
    status: DeploymentStatus = DeploymentStatus.RUNNING
    reason: str = ""
    halt: str = ""
    moved_at: float = 0.0
    paused_at: float | None = None
    finished: float | None = None
    revision: int = 1

    @property
    def total(self) -> int:
        """How many hosts are meant, with and without agent: what shares are shares of."""
        return len(self.hosts) + len(self.absent)

    @property
    def is_halted(self) -> bool:
        """Whether no more leases are given."""
        return bool(self.halt)

    @property
    def is_open(self) -> bool:
        """Whether hosts are still brought to this release: it runs, or is done and may have stragglers."""
        return self.status in _OPEN

    @property
    def failed(self) -> list[HostState]:
        """The parts of the hosts that failed, by name; also of those that were taken away for it, by an autoscaler."""
        parts = [*self.hosts.values(), *(part for part in self.gone.values() if part.name)]
        return sorted((part for part in parts if part.has_failed), key=lambda part: part.name)

    def knows(self, host: str) -> bool:
        """Return whether this deployment has heard of the host with this id, in the fleet or not."""
        return host in self.hosts or host in self.gone

    def part_of(self, host: str) -> HostState | None:
        """Return the part that the host with this id has, or had before it left."""
        part = self.hosts.get(host) or self.gone.get(host)
        return part if part and part.name else None

    @property
    def has_begun_to_switch(self) -> bool:
        """Whether any host was ever given a lease."""
        return any(host.lease_until for host in self.hosts.values())

    @property
    def is_at_rest(self) -> bool:
        """Whether it is over and time alone changes nothing in it any more."""
        return self.status.is_final and not (self.is_open and self.count(lambda host: not host.is_settled))

    def count(self, wanted: Callable[[HostState], bool]) -> int:
        """Return of how many hosts `wanted` holds."""
        return sum(1 for host in self.hosts.values() if wanted(host))

    def ids(self, wanted: Callable[[HostState], bool]) -> list[str]:
        """Return the ids of the hosts of which `wanted` holds, in the order of their names."""
        return sorted((id_ for id_, host in self.hosts.items() if wanted(host)), key=lambda id_: self.hosts[id_].name)

    def names(self, wanted: Callable[[HostState], bool]) -> list[str]:
        """Return the names of the hosts of which `wanted` holds."""
        return sorted(host.name for host in self.hosts.values() if wanted(host))


_OPEN = {
    DeploymentStatus.RUNNING,
    DeploymentStatus.PAUSED,
    DeploymentStatus.SUCCEEDED,
    DeploymentStatus.DEGRADED,
}
