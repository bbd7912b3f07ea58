"""What is said of deployments: the notices, in words for people."""

from __future__ import annotations

from typing import Any

from clarion_controller.explain import listed
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.walked import Incident, Told, Walked
from clarion_controller.notifying.wording import SHORT_ID, counted, no_longer_watched, worded
from clarion_protocol.words import DeploymentStatus


def halted(told: Told, walked: Walked, incident: Incident, reason: str) -> Notice:
    """Return the notice that a deployment stopped giving turns; how it ends is still open."""
    return _notice(
        told,
        walked,
        incident,
        kind=Kind.DEPLOYMENT_HALTED,
        severity=Severity.WARNING,
        title=f"{_what(walked)} halted in {walked.environment}",
        reason=f"{reason}; no other host gets it, and how it ends will be told",
        affected=walked.behind.values(),
        next_command=_logs(walked),
    )


def ended_badly(told: Told, before: Walked, walked: Walked, incident: Incident, reason: str) -> Notice:
    """Return the notice that a deployment failed, was rolled back by itself, or is degraded; `before` how it stood."""
    if walked.status is DeploymentStatus.ROLLED_BACK:
        return _rolled_back(told, walked, incident, reason)
    if walked.status is DeploymentStatus.DEGRADED:
        return _degraded(told, walked, incident, reason)
    # Who did not go back runs what has failed, and nobody knows how well.
    is_stuck = before.status is DeploymentStatus.ROLLING_BACK
    return _notice(
        told,
        walked,
        incident,
        kind=Kind.DEPLOYMENT_FAILED,
        severity=Severity.CRITICAL if is_stuck else Severity.ERROR,
        title=f"{_what(walked)} failed in {walked.environment}",
        reason=reason,
        affected=walked.behind.values(),
        next_command=_status(walked) if is_stuck else _logs(walked),
    )


def succeeded(told: Told, walked: Walked, incident: Incident | None, reason: str) -> Notice:
    """Return the notice that a deployment, or a rollback by hand, succeeded; it ends `incident`, if there is any."""
    by_hand = f"{walked.app} was rolled back to {walked.version} in {walked.environment}"
    return _notice(
        told,
        walked,
        incident,
        kind=Kind.ROLLED_BACK if walked.is_rollback else Kind.DEPLOYMENT_SUCCEEDED,
        severity=Severity.WARNING if walked.is_rollback else Severity.INFO,
        resolves=incident is not None,
        title=by_hand if walked.is_rollback else f"{_what(walked)} runs in {walked.environment}",
        reason=reason,
        next_command=_status(walked),
    )


def caught_up(walked: Walked, incident: Incident | None) -> Notice:
    """Return the notice of the stragglers that are where they were sent."""
    names = sorted(walked.caught_up)
    is_done = walked.status is DeploymentStatus.DEGRADED
    still = sorted([*walked.behind.values(), *(walked.absent if is_done else ())])
    runs = "runs" if len(names) == 1 else "run"
    where = f"{runs} {walked.version}" if is_done else f"went back from {walked.version}"
    who = names[0] if len(names) == 1 else counted(len(names), "host")
    rest = f"; still behind: {listed(still)}" if still else "; nobody is behind any more"
    return _notice(
        Told(walked.caught_seq, walked.caught_at),
        walked,
        incident,
        kind=Kind.STRAGGLER_CAUGHT_UP,
        severity=Severity.INFO,
        title=f"{who} caught up: {_what(walked)} in {walked.environment}",
        reason=f"{listed(names)} {where}{rest}",
        affected=names,
        next_command=_status(walked),
    )


def withdrawn(environment: str, app: str, incident: Incident, now: float) -> Notice:
    """Return the notice that an incident is over because its environment is none any more."""
    return no_longer_watched(
        incident.name,
        since=incident.since,
        at=now,
        environment=environment,
        app=app,
        title=f"{app} in {environment} is not watched any more",
        reason=f"fleet.toml has no [environment.{environment}] any more; whether {app} is well there is not known",
    )


def _rolled_back(told: Told, walked: Walked, incident: Incident, reason: str) -> Notice:
    return _notice(
        told,
        walked,
        incident,
        kind=Kind.ROLLED_BACK,
        severity=Severity.WARNING,
        title=f"{_what(walked)} was rolled back in {walked.environment}",
        reason=reason,
        affected=walked.behind.values(),
        next_command=_logs(walked),
    )


def _degraded(told: Told, walked: Walked, incident: Incident, reason: str) -> Notice:
    behind = [*walked.behind.values(), *walked.absent]
    return _notice(
        told,
        walked,
        incident,
        kind=Kind.DEPLOYMENT_DEGRADED,
        severity=Severity.WARNING,
        title=f"{_what(walked)} is degraded in {walked.environment}: {counted(len(behind), 'host')} behind",
        reason=reason,
        affected=behind,
        next_command=_status(walked),
    )


def _notice(told: Told, walked: Walked, incident: Incident | None, **what: Any) -> Notice:
    by = f" (ordered by {walked.actor})" if walked.actor else ""
    what["reason"] = f"{what['reason']}{by}"
    return worded(
        told.seq,
        incident=incident.name if incident else "",
        since=incident.since if incident else walked.since,
        at=told.at,
        environment=walked.environment,
        app=walked.app,
        **what,
    )


def _what(walked: Walked) -> str:
    return f"rollback of {walked.app} to {walked.version}" if walked.is_rollback else f"{walked.app} {walked.version}"


def _logs(walked: Walked) -> str:
    return f"clarion logs {walked.id[:SHORT_ID]}"


def _status(walked: Walked) -> str:
    return f"clarion status {walked.app} -e {walked.environment}"
