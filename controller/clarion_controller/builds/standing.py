"""How the deployment of a green build stands, and whether it is still to be tried; pure.

One that waits is given up when

- a newer build of the repository was deployed there, or waits as well
- fleet.toml does not say any more that this branch is deployed there
- somebody ordered another version there since the push: what a person did is not undone behind their back
- something else than "blocked" is answered, or a day is over
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clarion_controller.builds.build import BRANCHES, Build
from clarion_controller.builds.run_clarion import Outcome
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.amounts import Duration
from clarion_protocol.words import ExitCode

ID_DIGITS = 12  # of a build, in what is signed of its deployment
MAX_COMPLAINT = 1000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0  # most outages are over in a moment
GIVE_UP_AFTER_S = 86_400.0


@dataclass(frozen=True)
class Order:
    """A deployment that somebody ordered, at UTC seconds `at`."""

    at: float
    version: str
    actor: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """How the deployment of a build stands: to be found in its environment, waiting for one, or neither; and why."""

    reason: str = ""
    deployed_to: str = ""
    waits_for: str = ""


@dataclass(frozen=True)
class Known:
    """What decides whether a build is still to be deployed."""

    repository: Repository | None
    builds: Sequence[Build]
    orders: Sequence[Order]
    now: float


def reason_of(build: Build) -> str:
    """Return the reason that is signed with the order of a build; no other build has it."""
    return f"build {build.id[:ID_DIGITS]}, pushed to {build.ref}"


def is_ordered(build: Build, orders: Sequence[Order]) -> bool:
    """Return whether a build's deployment was ordered by us."""
    return any(order.reason == reason_of(build) for order in orders)


def judge(build: Build, environment: str, known: Known) -> Standing | None:
    """Return what a build's deployment has come to by itself; None if it is still to be ordered."""
    if is_ordered(build, known.orders):
        return Standing(deployed_to=environment)
    by_others = _by_others(build, known)
    if by_others and by_others[0].version == build.version:
        return Standing(f"deployed to {environment} by {_who(by_others[0])}", deployed_to=environment)
    why_not = (
        _superseded(build, environment, known.builds)
        or _unwanted(build, environment, known.repository)
        or (f"{_who(by_others[0])} ordered {by_others[0].version} there since the push" if by_others else "")
        or _too_late(build, known.now)
    )
    return _not_deployed(environment, why_not) if why_not else None


def verdict(environment: str, outcome: Outcome) -> Standing:
    """Return how a deployment stands after 'clarion deploy' ended so."""
    if not outcome.code:
        return Standing(deployed_to=environment)
    complaint = outcome.complaint[:MAX_COMPLAINT]
    if outcome.code == ExitCode.BLOCKED:
        return Standing(f"waits to be deployed to {environment}: {complaint}", waits_for=environment)
    return _not_deployed(environment, complaint)


def pause_after(waited: float) -> float:
    """Return for how long (s) to let a deployment be that has waited for `waited` s."""
    return min(max(waited, FIRST_PAUSE_S), LONGEST_PAUSE_S)


def _who(order: Order) -> str:
    return order.actor or "somebody"


def _not_deployed(environment: str, why: str) -> Standing:
    return Standing(f"not deployed to {environment}: {why}")


def _by_others(build: Build, known: Known) -> list[Order]:
    """Return what was ordered since the push of a build, newest first; not for the sake of an older build."""
    ours = {reason_of(each) for each in known.builds if each.number < build.number}
    return [order for order in known.orders if order.at > build.queued_at and order.reason not in ours]


def _superseded(build: Build, environment: str, builds: Sequence[Build]) -> str:
    for each in builds:
        if each.number > build.number and environment in (each.deployed_to, each.waits_for):
            return f"superseded by build {each.id[:8]}"
    return ""


def _unwanted(build: Build, environment: str, repository: Repository | None) -> str:
    if repository and repository.auto_deploy == environment and repository.deploys(build.ref):
        return ""
    return f"fleet.toml does not say any more that {build.ref.removeprefix(BRANCHES)} is deployed there"


def _too_late(build: Build, now: float) -> str:
    if build.finished_at is None or now - build.finished_at <= GIVE_UP_AFTER_S:
        return ""
    return f"after {Duration(GIVE_UP_AFTER_S)} of waiting given up; {build.reason}"
