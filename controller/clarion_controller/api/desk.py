"""What the API's routes need of the controller, and what several of them ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from litestar.di import NamedDependency
from litestar.params import FromQuery

from clarion_controller.api.listing import Listing
from clarion_controller.api.views import Views
from clarion_controller.builds.builds import Builds
from clarion_controller.cluster import Cluster
from clarion_controller.discovery import Discovery
from clarion_controller.history import History
from clarion_controller.inviting import Inviter
from clarion_controller.membership import Membership
from clarion_controller.planning import Planner
from clarion_controller.rollout import Rollouts
from clarion_controller.state.log import StateLog
from clarion_controller.state.roster import Host, Roster


@dataclass(frozen=True)
class Desk:
    """Everything that the routes need of the controller."""

    cluster: Cluster
    rollouts: Rollouts
    roster: Roster
    log: StateLog
    history: History
    planner: Planner
    inviter: Inviter
    views: Views
    listing: Listing
    discovery: Discovery
    membership: Membership
    builds: Builds
    revoke: Callable[[Host], None]


TheDesk = NamedDependency[Desk]
Asked = FromQuery[str | None]


def environments_of(desk: Desk, environment: str | None) -> list[str]:
    """Return the environment that was asked for, or all.

    Raises:
        UnknownName: there is no such environment.
    """
    known = desk.membership.environments()
    if environment is None:
        return known
    if environment not in known:
        desk.cluster.fleet.in_environment(environment)
    return [environment]
