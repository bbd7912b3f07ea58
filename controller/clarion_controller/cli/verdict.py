"""How a deployment stands or ended: one sentence and the exit code that says the same."""

from __future__ import annotations

from collections import Counter

from clarion_controller.api.answers import DeploymentAnswer, HostProgress
from clarion_controller.texts import count, one_line, short
from clarion_protocol.errors import Interrupted
from clarion_protocol.words import DeploymentStatus, ExitCode, HostStatus

EXIT_CODES = {
    DeploymentStatus.SUCCEEDED: ExitCode.COMMITTED,
    DeploymentStatus.DEGRADED: ExitCode.DEGRADED,
    DeploymentStatus.ROLLED_BACK: ExitCode.ROLLED_BACK,
    DeploymentStatus.FAILED: ExitCode.FAILED,
    DeploymentStatus.ABORTED: ExitCode.FAILED,
    DeploymentStatus.SUPERSEDED: ExitCode.FAILED,
}
_ENDINGS = {
    DeploymentStatus.SUCCEEDED: "is committed",
    DeploymentStatus.DEGRADED: "is committed, but not everywhere",
    DeploymentStatus.ROLLED_BACK: "was rolled back",
    DeploymentStatus.FAILED: "failed",
    DeploymentStatus.ABORTED: "was aborted",
    DeploymentStatus.SUPERSEDED: "was superseded by a newer deployment",
}


def exit_code(deployment: DeploymentAnswer) -> ExitCode:
    """Return the exit code of a deployment that is over."""
    return EXIT_CODES[deployment.status]


def sentence(deployment: DeploymentAnswer) -> str:
    """Return how a deployment that is over ended, and where."""
    what = f"{deployment.app} {deployment.version} {_ENDINGS[deployment.status]} in {deployment.environment}"
    why = f": {one_line(deployment.reason).rstrip('.')}" if exit_code(deployment) else ""
    return f"{what} ({_committed(deployment)}{_duration(deployment)}){why}."


def next_step(deployment: DeploymentAnswer) -> str | None:
    """Return what to do after an end that is not good."""
    if exit_code(deployment) is ExitCode.COMMITTED:
        return None
    return f"What each host reported: 'clarion logs {short(deployment.id)}'."


def trouble(deployment: DeploymentAnswer) -> list[str]:
    """Return a line for each host that needs a person's eyes."""
    lines = []
    for host in deployment.hosts:
        if host.status in (HostStatus.FAILED, HostStatus.ROLLED_BACK, HostStatus.UNREACHABLE):
            why = f": {one_line(host.reason)}" if host.reason else ""
            lines.append(f"{host.name} {_stands(host)}{why}")
    return lines


def _stands(host: HostProgress) -> str:
    if host.status is HostStatus.ROLLED_BACK and host.error == Interrupted.code:
        return "went back in the middle of its switch"
    return f"is {host.status.value.replace('_', ' ')}"


def _committed(deployment: DeploymentAnswer) -> str:
    counts = Counter(deployment.counts)
    done, total = counts[HostStatus.COMMITTED.value], sum(counts.values())
    return f"{done} of {count(total, 'host')}{'' if done == total else ' committed'}"


def _duration(deployment: DeploymentAnswer) -> str:
    if deployment.finished is None:
        return ""
    return f", after {deployment.finished - deployment.created:.0f} s"
