"""From what an operator asks for to the deployment that a deployer signs; and back, when it comes signed.

The controller draws it up because it knows what is published, who is enrolled and what
came before. It cannot order it: the deployer's key never is here. What comes back is
judged by the very rules that agents judge by.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from clarion_controller.api.answers import PlanAnswer, PlanRequest
from clarion_controller.cluster import Cluster
from clarion_controller.history import History
from clarion_controller.membership import Membership
from clarion_controller.review import doubts, findings, hosts_of, refuse_changed
from clarion_controller.rollout import Rollouts
from clarion_controller.select_targets import Selection, TargetRequest, select_targets
from clarion_controller.state.roster import Host, Roster
from clarion_controller.stores.missing import refuse_missing
from clarion_controller.streams import document_in
from clarion_protocol.amounts import Share
from clarion_protocol.documents import Deployment, Plan, ReleaseRef
from clarion_protocol.errors import (
    BadSignature,
    Equivocation,
    NothingMatches,
    OperatorError,
    StaleSequence,
    UnknownName,
    UnknownPackage,
)
from clarion_protocol.policy import Limits, Policy
from clarion_protocol.published import Release
from clarion_protocol.trust import Floor, Standpoint, accept_deployment
from clarion_protocol.words import Intent, Joiners, Strategy, new_id, stream_of

VALIDITY = 30 * 86_400
MIN_LEASE = 5.0
_MAX_REMEMBERED = 32


@dataclass(frozen=True)
class _Seen:
    """What was asked for, and whom it meant then."""

    request: TargetRequest
    selection: Selection


@dataclass(frozen=True)
class Planner:
    """Draws deployments up, and takes them back when they are signed."""

    cluster: Cluster
    rollouts: Rollouts
    roster: Roster
    history: History
    membership: Membership
    clock: Callable[[], float] = time.time
    # A document says "all", or ids: what a person saw before signing it is remembered here.
    _seen: OrderedDict[str, _Seen] = field(default_factory=OrderedDict)

    async def plan_afresh(self, request: PlanRequest) -> PlanAnswer:
        """Return the plan by what every source of the environment says now; a way back waits for none of them.

        Raises:
            UnknownName, NothingMatches: as for `plan`.
            Blocked: a source does not answer, or lists far fewer hosts than before; or the package is gone.
            CloudRefused: the bucket of packages does not let the controller look.
        """
        if request.intent is Intent.INSTALL:
            release = self._release(request)  # a typo is told at once, not when a cloud has answered
            await asyncio.to_thread(refuse_missing, self.cluster, release)
            await self.membership.learn(request.environment, accept_shrink=request.accept_shrink)
            self.rollouts.fleet_changed(request.environment)
        return self.plan(request)

    def plan(self, request: PlanRequest) -> PlanAnswer:
        """Return the deployment that `request` would be; nothing is changed.

        Raises:
            UnknownName: no such app, version, environment or host.
            NothingMatches: there is nothing to deploy to, or nothing to go back to.
        """
        policy = self.cluster.policy(request.environment)
        if request.plan:
            check_plan(request.plan, policy.limits)
        release = self._release(request)
        wanted = TargetRequest(request.environment, request.hosts, request.where)
        members = self.membership.members(request.environment)
        selection = select_targets(wanted, members)
        deployment = self._draw_up(request, release, selection, policy)
        self._remember(deployment.id, _Seen(wanted, selection))
        hosts = [host for id_ in selection.hosts if (host := self.roster.get(id_))]
        return PlanAnswer(
            deployment=deployment,
            targets=sorted([*selection.hosts.values(), *selection.absent]),
            without_agent=selection.absent,
            not_connected=sorted(host.name for host in hosts if not self.rollouts.is_connected(host.id)),
            running=running_versions(hosts, request.app),
            supersedes=self._under_way(deployment.stream),
            findings=[*doubts(self.membership.sources(request.environment)), *findings(members, selection)],
        )

    def take(self, envelope: bytes) -> tuple[Deployment, Selection]:
        """Return the deployment that deployers signed and the hosts it is for, ready for `Rollouts.accept`.

        Raises:
            SignalError: not genuine, not allowed, or another deployment came first.
            UnknownName: an environment or host that is not there any more.
            Blocked: hosts came or went since it was planned.
            UnknownPackage: not what is published.
        """
        claimed = document_in(envelope)
        policy = self.cluster.policy(claimed.environment)
        selection = self._selection_of(claimed)
        due = self.rollouts.streams.next_deployment_seq(claimed.stream)
        at = Standpoint(next(iter(selection.hosts)), policy, self.clock())
        try:
            deployment = accept_deployment(envelope, at, Floor(policy.epoch, due - 1)).deployment
        except BadSignature as error:
            raise _no_deployer(claimed) from error
        except (StaleSequence, Equivocation) as error:
            raise _came_late(claimed, due) from error
        if deployment.seq != due:
            raise _came_late(deployment, due)
        check_plan(deployment.plan, policy.limits)
        self._check_release(deployment)
        return deployment, selection

    def _release(self, request: PlanRequest) -> Release:
        version = request.version
        if version is None:
            if request.intent is Intent.INSTALL:
                raise UnknownName("no version was named", hint=f"Run 'clarion packages {request.app}' to see them.")
            self.cluster.releases(request.app)
            version = self.history.before_current(stream_of(request.environment, request.app))
        return self.cluster.release(request.app, version)

    def _draw_up(self, request: PlanRequest, release: Release, selection: Selection, policy: Policy) -> Deployment:
        now = int(self.clock())
        stream = stream_of(request.environment, request.app)
        is_rollback = request.intent is Intent.ROLLBACK
        plan = request.plan or self._strategy(request, selection)
        return Deployment(
            id=new_id(),
            cluster=self.cluster.id,
            environment=request.environment,
            stream=stream,
            epoch=policy.epoch,
            seq=self.rollouts.streams.next_deployment_seq(stream),
            app=release.app,
            version=release.version,
            release=release.release,
            path=release.path,
            length=release.length,
            sha256=release.sha256,
            targets=selection.targets,
            plan=plan,
            intent=request.intent,
            go_back_to=None if is_rollback else self._way_back(stream, release),
            issued_at=now,
            not_before=now,
            expires=now + min(VALIDITY, policy.limits.max_deployment_validity),
            actor=request.actor,
            reason=request.reason,
        )

    def _way_back(self, stream: str, release: Release) -> ReleaseRef | None:
        """Return what a failure goes back to: what is in force.

        If that is the release itself, hosts that run it already must not be sent to an older one because a
        straggler failed: without a release named here, each goes back to what it ran.
        """
        in_force = self.history.last_good(stream)
        return None if in_force and in_force.version == release.version else in_force

    def _strategy(self, request: PlanRequest, selection: Selection) -> Plan:
        plan = self.cluster.fleet.in_environment(request.environment).strategy.plan()
        if request.intent is Intent.INSTALL:
            return plan
        # Going back is what one does when things are bad: one host that cannot must not hold up the others.
        everybody = len(selection.hosts) + len(selection.absent)
        return replace(
            plan,
            type=Strategy.ALL_AT_ONCE,
            max_failures=everybody,
            max_unreachable="100%",
            auto_rollback=False,
            joiners=Joiners.NEW,  # what is in force by then is what everybody else is going away from
        )

    def _selection_of(self, deployment: Deployment) -> Selection:
        seen, is_way_back = self._seen.get(deployment.id), deployment.intent is Intent.ROLLBACK
        members = self.membership.members(deployment.environment)
        if seen and seen.selection.targets == deployment.targets and not is_way_back:
            selection = select_targets(seen.request, members)
            refuse_changed(seen.selection, selection)
            return selection
        if deployment.targets.all:
            return select_targets(TargetRequest(deployment.environment), members)
        hosts = dict(hosts_of(deployment, members))
        if not hosts:
            raise NothingMatches("this deployment names no host that is there", hint="Plan it again: 'clarion deploy'.")
        return Selection(deployment.targets, hosts, seen.selection.absent if seen else [])

    def _check_release(self, deployment: Deployment) -> None:
        release = self.cluster.published(deployment.app, deployment.version, deployment.sha256)
        said = (deployment.release, deployment.path, deployment.length)
        if said != (release.release, release.path, release.length):
            raise UnknownPackage(f"{deployment.app} {deployment.version} is published as release {release.release}")

    def _under_way(self, stream: str) -> str | None:
        newest = self.rollouts.streams.newest(stream)
        return newest.state.deployment.id if newest and not newest.state.status.is_final else None

    def _remember(self, id_: str, seen: _Seen) -> None:
        self._seen[id_] = seen
        while len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)


def running_versions(hosts: list[Host], app: str) -> dict[str, int]:
    """Return on how many hosts each version of an app runs, by their own reports."""
    reports = (host.last_report for host in hosts if host.last_report)
    return dict(Counter(running.version for report in reports for running in report.running if running.app == app))


def check_plan(plan: Plan, limits: Limits) -> None:
    """Return if hosts can follow this plan.

    Raises:
        OperatorError: a share that is none, a turn for nobody, or a lease that no host would take.
    """
    try:
        for share in (plan.max_parallel, plan.max_unreachable):
            Share.parse(share)
    except ValueError as error:
        raise OperatorError(f"this plan cannot be followed: {error}") from error
    if not Share(plan.max_parallel).of(1):
        raise OperatorError(f"max_parallel is {plan.max_parallel}: nothing would ever change", hint="Write 1 or more.")
    if not MIN_LEASE <= plan.lease_timeout <= limits.max_signal_validity:
        raise OperatorError(
            f"lease_timeout is {plan.lease_timeout:g} s; {MIN_LEASE:g} to {limits.max_signal_validity} s are possible"
        )


def _no_deployer(claimed: Deployment) -> BadSignature:
    return BadSignature(
        f"the key that signed this is not that of a deployer of {claimed.environment}",
        hint="Name a deployer's key with --key; the environment's policy lists who is one.",
    )


def _came_late(deployment: Deployment, due: int) -> StaleSequence:
    return StaleSequence(
        f"this is deployment {deployment.seq} of {deployment.stream} where {due} is due: another came first",
        hint="Look at it with 'clarion status', then deploy again.",
    )
