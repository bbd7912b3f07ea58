"""From states to answers: what the API says, nothing it decides.

A host that committed and whose newest report says that something else runs is shown as
`drifted`: status is what is, not what was once reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from clarion_controller.api.answers import (
    DeploymentAnswer,
    HostAnswer,
    HostProgress,
    LogAnswer,
    OneHostAnswer,
    PartAnswer,
    StreamAnswer,
)
from clarion_controller.catch_up import own_walk
from clarion_controller.explain import rivalry, why, wrong_clock
from clarion_controller.history import GOOD, History
from clarion_controller.matching import Member
from clarion_controller.membership import Membership
from clarion_controller.planning import running_versions
from clarion_controller.rollout import Rollouts
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_controller.state.roster import Host, Roster
from clarion_controller.state.rows import StoredLog
from clarion_controller.streams import Walk
from clarion_protocol.documents import Running
from clarion_protocol.words import DeploymentStatus, HostStatus, Stage


@dataclass(frozen=True)
class Views:
    """Shows what the controller knows."""

    membership: Membership
    rollouts: Rollouts
    roster: Roster
    history: History

    def deployment(self, state: RolloutState) -> DeploymentAnswer:
        """Return one deployment with all its hosts."""
        document = state.deployment
        hosts = sorted([*self._progress(state), *_without_agent(state)], key=lambda host: host.name)
        return DeploymentAnswer(
            id=document.id,
            app=document.app,
            environment=document.environment,
            version=document.version,
            release=document.release,
            intent=document.intent,
            seq=document.seq,
            status=state.status,
            reason=why(state),
            revision=state.revision,
            created=state.accepted_at,
            finished=state.finished,
            actor=document.actor,
            go_back_to=document.go_back_to.version if document.go_back_to else None,
            plan=document.plan,
            hosts=hosts,
            counts=dict(Counter(host.status.value for host in hosts)),
        )

    def counted(self, state: RolloutState) -> DeploymentAnswer:
        """Return one deployment with how many hosts stand where, and none of them."""
        return replace(self.deployment(state), hosts=[])

    def hosts(self, environment: str) -> list[HostAnswer]:
        """Return every host that there is or should be in an environment, by name.

        Raises:
            UnknownName: no such environment.
        """
        return [self._member(environment, member) for member in self.membership.members(environment)]

    def one_host(self, environment: str, name: str) -> OneHostAnswer:
        """Return one host, if there is such a one, and its part in what is in force.

        Raises:
            UnknownName: no such environment.
        """
        member = next((each for each in self.membership.members(environment) if each.name == name), None)
        if member is None:
            return OneHostAnswer()
        streams = self.rollouts.streams.of(environment)
        parts = [part for walks in streams if (part := self._part(walks, member))]
        return OneHostAnswer(host=self._member(environment, member), parts=sorted(parts, key=lambda part: part.app))

    def _part(self, walks: Sequence[Walk], member: Member) -> PartAnswer | None:
        wanted = self._wanted(walks)
        if wanted is None:
            return None
        app, id_ = walks[0].state.deployment.app, member.host.id if member.host else ""
        for walk in walks:
            if part := walk.state.hosts.get(id_):
                progress = self._host_progress(id_, part, walk.state, is_newest=walk is walks[0])
                return PartAnswer(app=app, wanted=wanted, part=progress)
        return PartAnswer(app=app, wanted=wanted)

    def host(self, host: Host) -> HostAnswer:
        """Return one enrolled host."""
        members = self.membership.members(host.environment)
        member = next((each for each in members if each.host and each.host.id == host.id), Member(host.name, host))
        return self._member(host.environment, member)

    def _member(self, environment: str, member: Member) -> HostAnswer:
        server, host = member.server, member.host
        report = host.last_report if host else None
        return HostAnswer(
            name=member.name,
            environment=environment,
            id=host.id if host else None,
            groups=list(member.groups),
            source=server.source if server else "",
            instance=member.instance,
            zone=member.zone,
            state=server.state if server else "",
            tags=dict(member.tags),
            addresses=list(server.addresses) if server else [],
            is_discovered=member.is_expected,
            is_enrolled=host is not None,
            is_connected=host is not None and self.rollouts.is_connected(host.id),
            last_seen=host.last_seen if host else None,
            clock=wrong_clock(self.rollouts.clock_off(host.id)) if host else "",
            facts=report.facts if report else None,
            running=report.running if report else [],
            drift=self._drift(host) if host else [],
            findings=[*member.findings, *rivalry(self.roster.rivals(member.instance))],
        )

    def stream(self, walks: Sequence[Walk]) -> StreamAnswer:
        """Return what is wanted of one app in one environment, and what runs."""
        document = walks[0].state.deployment
        hosts = self.roster.of(document.environment)
        return StreamAnswer(
            app=document.app,
            environment=document.environment,
            wanted=self._wanted(walks),
            deployment=self.deployment(walks[0].state),
            running=running_versions(hosts, document.app),
            hosts=self.hosts(document.environment),
        )

    def log(self, entry: StoredLog) -> LogAnswer:
        """Return what one host reported of one step."""
        host = self.roster.get(entry.host)
        return LogAnswer(
            host=host.name if host else entry.host,
            at=entry.at,
            status=HostStatus(entry.status),
            stage=Stage(entry.stage) if entry.stage else None,
            reason=entry.reason,
            error=entry.error,
            log=entry.log,
        )

    def _progress(self, state: RolloutState) -> list[HostProgress]:
        newest = self.rollouts.streams.newest(state.deployment.stream)
        is_newest = newest is not None and newest.state.deployment.id == state.deployment.id
        return [self._host_progress(id_, host, state, is_newest=is_newest) for id_, host in state.hosts.items()]

    def _host_progress(self, id_: str, host: HostState, state: RolloutState, *, is_newest: bool) -> HostProgress:
        enrolled = self.roster.get(id_)
        runs = _running(enrolled, state.deployment.app) if enrolled else None
        status, reason = host.status, host.reason
        if is_newest and enrolled and _has_drifted(enrolled, host, state):
            found = runs.version if runs else "nothing"
            status, reason = HostStatus.DRIFTED, f"it committed {state.deployment.version}, but {found} runs"
        return HostProgress(
            name=host.name,
            id=id_,
            status=status,
            reason=reason,
            error=host.error,
            since=host.since,
            version=runs.version if runs else None,
        )

    def _drift(self, host: Host) -> list[str]:
        drifted = []
        for walks in self.rollouts.streams.of(host.environment):
            walk = own_walk(walks, host.id)
            if walk and _has_drifted(host, walk.state.hosts[host.id], walk.state):
                drifted.append(walk.state.deployment.app)
        return drifted

    def _wanted(self, walks: Sequence[Walk]) -> str | None:
        state = walks[0].state
        undone = (DeploymentStatus.ROLLED_BACK, DeploymentStatus.ROLLING_BACK)
        if state.status in undone and state.deployment.go_back_to:
            return state.deployment.go_back_to.version
        if state.status in GOOD or not state.status.is_final:
            return state.deployment.version
        before = self.history.last_good(state.deployment.stream)
        return before.version if before else None


def _without_agent(state: RolloutState) -> list[HostProgress]:
    reason = "no agent has joined there"
    return [HostProgress(name=name, id="", status=HostStatus.UNREACHABLE, reason=reason) for name in state.absent]


def _running(host: Host, app: str) -> Running | None:
    report = host.last_report
    return next((running for running in report.running if running.app == app), None) if report else None


def _has_drifted(host: Host, part: HostState, state: RolloutState) -> bool:
    """Return whether the host has spoken since it committed, and something else runs there."""
    if not state.is_open or part.status is not HostStatus.COMMITTED or (host.last_seen or 0.0) <= part.since:
        return False
    runs = _running(host, state.deployment.app)
    return runs is None or runs.release != state.deployment.release
