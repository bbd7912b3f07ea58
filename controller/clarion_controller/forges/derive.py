"""From events to what a forge is told: how builds stand, and where what they made was deployed; pure."""

from __future__ import annotations

import re

import msgspec

from clarion_controller.builds.build import BRANCHES, COMMIT, BuildStatus, version_of
from clarion_controller.forges.report import ForgeReport, Outcome
from clarion_controller.state.events import AnyEvent, BuildFinished, BuildStarted, DeploymentAccepted, StatusChanged
from clarion_protocol.documents import Deployment
from clarion_protocol.words import DeploymentStatus

VERSIONS = 200  # of each app are remembered, the newest

_BUILDS = {BuildStatus.SUCCEEDED.value: Outcome.SUCCESS, BuildStatus.FAILED.value: Outcome.FAILURE}
_DEPLOYMENTS = {
    DeploymentStatus.SUCCEEDED: Outcome.SUCCESS,
    DeploymentStatus.DEGRADED: Outcome.SUCCESS,
    DeploymentStatus.FAILED: Outcome.FAILURE,
    DeploymentStatus.ROLLED_BACK: Outcome.FAILURE,
    DeploymentStatus.ABORTED: Outcome.ERROR,
    DeploymentStatus.SUPERSEDED: Outcome.ERROR,
}


class Origin(msgspec.Struct, frozen=True):
    """Where a version comes from."""

    repository: str
    commit: str
    ref: str


class ForgeState(msgspec.Struct, frozen=True):
    """What has to be remembered: for each app, which commit became which version, the newest last."""

    origins: dict[str, dict[str, Origin]] = {}

    def with_origin(self, app: str, version: str, origin: Origin) -> ForgeState:
        """Return the state that knows this one, too."""
        known = {each: made for each, made in self.origins.get(app, {}).items() if each != version}
        newest = dict([*known.items(), (version, origin)][-VERSIONS:])
        return ForgeState({**self.origins, app: newest})


def derive(
    state: ForgeState, seq: int, event: AnyEvent, deployment: Deployment | None
) -> tuple[ForgeState, list[ForgeReport]]:
    """Return what to remember after event number `seq`, which belongs to `deployment` if any, and what to tell."""
    if isinstance(event, (BuildStarted, BuildFinished)):
        return _after_build(state, event), [each for each in [_of_build(seq, event)] if re.match(COMMIT, each.commit)]
    if deployment and isinstance(event, (DeploymentAccepted, StatusChanged)):
        return state, _of_deployment(state, seq, event, deployment)
    return state, []


def _after_build(state: ForgeState, event: BuildStarted | BuildFinished) -> ForgeState:
    version = _version(event)
    origin = Origin(event.repository, event.commit, event.ref)
    return state.with_origin(event.app, version, origin) if version else state


def _version(event: BuildStarted | BuildFinished) -> str:
    """Return what a build made; of a branch what it makes, too: that is deployed before the build is over."""
    if isinstance(event, BuildFinished):
        return event.version if event.status == BuildStatus.SUCCEEDED else ""
    makes_it = event.ref.startswith(BRANCHES) and re.match(COMMIT, event.commit)
    return version_of(event.ref, event.commit) if makes_it else ""


def _of_build(seq: int, event: BuildStarted | BuildFinished) -> ForgeReport:
    outcome, description = Outcome.PENDING, f"build {event.build} is running"
    if isinstance(event, BuildFinished):
        outcome = _BUILDS.get(event.status, Outcome.ERROR)
        made = f"{event.app} {event.version} is published" if outcome is Outcome.SUCCESS else event.status
        description = event.reason or made
    return ForgeReport(
        id=f"forge-{seq}",
        repository=event.repository,
        commit=event.commit,
        ref=event.ref,
        outcome=outcome,
        description=description,
        at=event.at,
    )


def _of_deployment(
    state: ForgeState, seq: int, event: DeploymentAccepted | StatusChanged, deployment: Deployment
) -> list[ForgeReport]:
    origin = state.origins.get(deployment.app, {}).get(deployment.version)
    outcome = Outcome.PENDING if isinstance(event, DeploymentAccepted) else _DEPLOYMENTS.get(event.status)
    if origin is None or outcome is None or not re.match(COMMIT, origin.commit):
        return []
    what = f"{deployment.app} {deployment.version}"
    report = ForgeReport(
        id=f"forge-{seq}",
        repository=origin.repository,
        commit=origin.commit,
        ref=origin.ref,
        outcome=outcome,
        description=f"{what}: {event.reason}" if isinstance(event, StatusChanged) else f"{what} is rolled out",
        environment=deployment.environment,
        deployment=deployment.id,
        at=event.at,
    )
    return [report]
