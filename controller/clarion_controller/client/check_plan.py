"""Whether what a deployer is about to sign is what was asked for.

The controller draws the deployment up; the deployer's key signs it. So a stolen or
confused controller must not be able to slip another version, another environment or
more hosts under the signature. Pure: values in, an error or nothing out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clarion_controller.api.answers import HostAnswer, PlanAnswer, PlanRequest
from clarion_controller.host_filter import narrow
from clarion_protocol.documents import Deployment
from clarion_protocol.errors import SignalError
from clarion_protocol.words import stream_of

MAX_CLOCK_SKEW = 300  # seconds between the deployer's clock and the document's times


@dataclass(frozen=True)
class Question:
    """What was asked, and what the asker knows: the enrolled hosts of the environment and the time (UTC s)."""

    request: PlanRequest
    hosts: Sequence[HostAnswer]
    now: float


def check_plan(asked: Question, answer: PlanAnswer) -> None:
    """Return if `answer` may be signed.

    Raises:
        SignalError: it is not what was asked for; the message names each difference.
    """
    differences = [
        *_other_words(asked.request, answer.deployment),
        *_other_hosts(asked, answer),
        *_other_times(asked.now, answer.deployment),
    ]
    if differences:
        raise SignalError(
            f"the controller drew up something else than was asked: {'; '.join(differences)}. Nothing was signed.",
            hint="A healthy controller never does this: look at the machine it runs on before you deploy again.",
        )


def _other_words(request: PlanRequest, deployment: Deployment) -> Iterator[str]:
    pairs = {
        "app": (request.app, deployment.app),
        "environment": (request.environment, deployment.environment),
        "stream": (stream_of(request.environment, request.app), deployment.stream),
        "version": (request.version or deployment.version, deployment.version),
        "intent": (request.intent.value, deployment.intent.value),
        "strategy": (request.plan or deployment.plan, deployment.plan),
        "reason": (request.reason, deployment.reason),
        "actor": (request.actor, deployment.actor),
    }
    for word, (wanted, found) in pairs.items():
        if wanted != found:
            yield f"{word} {found} where {wanted} was asked"
    if not deployment.path.startswith(f"{request.app}/"):
        yield f"a package of another app ({deployment.path})"


def _other_hosts(asked: Question, answer: PlanAnswer) -> Iterator[str]:
    is_everybody = asked.request.hosts is None and asked.request.where.is_empty
    names = set(answer.targets) if is_everybody else _meant(asked)
    if set(answer.targets) != names:
        yield f"hosts {_listed(answer.targets)} where {_listed(names)} were asked"
    targets = answer.deployment.targets
    if targets.all:
        if not is_everybody:
            yield "every host of the environment where some were asked"
        return
    ids = {host.id for host in asked.hosts if host.name in names and host.id}
    if set(targets.hosts) != ids:
        yield f"{len(set(targets.hosts) - ids)} ids of other hosts, {len(ids - set(targets.hosts))} ids missing"


def _meant(asked: Question) -> set[str]:
    """Return whom the request means by what the asker knows: the filter is applied here once more."""
    wanted = asked.request.hosts
    named = [host for host in asked.hosts if host.is_discovered and (wanted is None or host.name in wanted)]
    return {host.name for host in narrow(named, asked.request.where)}


def _other_times(now: float, deployment: Deployment) -> Iterator[str]:
    if abs(deployment.issued_at - now) > MAX_CLOCK_SKEW:
        yield f"issued {deployment.issued_at - now:+.0f} s from now by this machine's clock"
    if deployment.expires <= now:
        yield "expired already"


def _listed(names: Sequence[str] | set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")
