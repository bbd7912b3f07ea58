"""From events to what people are told: `fold(state, seq, event, context) -> (state, notices)`, without IO or clock.

What goes wrong is an incident. Each ends: with what makes it good, or when nothing can any more (`withdraw`).

What belongs together within a moment is told when the moment is over: `fold` tells what the time of the event makes
due, `settle` what the clock does. So it does not matter in which portions events are read.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.notice import Notice
from clarion_controller.notifying import agents, builds, deployments, nights
from clarion_controller.notifying.context import Context
from clarion_controller.notifying.moment import MOMENT
from clarion_controller.state.events import AnyEvent


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What has been told and is not over, by subject."""

    deployments: deployments.Deployments = deployments.Deployments()
    agents: agents.Agents = ()
    builds: builds.Builds = {}
    nights: nights.Nights = ()


def fold(known: Known, seq: int, event: AnyEvent, context: Context) -> tuple[Known, list[Notice]]:
    """Return what is known after the event with this number, and what people are told."""
    known, notices = settle(known, event.at)
    of_deployments, of_them = deployments.fold(known.deployments, seq, event, context)
    lost, of_agents = agents.fold(known.agents, seq, event)
    broken, of_builds = builds.fold(known.builds, seq, event)
    nightly, of_nights = nights.fold(known.nights, seq, event)
    known = Known(deployments=of_deployments, agents=lost, builds=broken, nights=nightly)
    return known, [*notices, *of_them, *of_agents, *of_builds, *of_nights]


def withdraw(known: Known, fleet: Fleet, now: float) -> tuple[Known, list[Notice]]:
    """Return what is known of all that `fleet` still has, and what is told of incidents that it has not."""
    of_deployments, of_them = deployments.withdraw(known.deployments, fleet.environment, now)
    lost, of_agents = agents.withdraw(known.agents, fleet.environment, now)
    broken, of_builds = builds.withdraw(known.builds, fleet.repository, now)
    known = replace(known, deployments=of_deployments, agents=lost, builds=broken)
    return known, [*of_them, *of_agents, *of_builds]


def open_incidents(known: Known) -> set[str]:
    """Return the names of the incidents that are yet to end."""
    return {
        *(incident.name for incident in known.deployments.incidents.values()),
        *(group.incident for group in known.agents),
        *(builds.incident_of(place, broken) for place, broken in known.builds.items()),
        *(group.incident for group in known.nights),
    }


def settle(known: Known, now: float) -> tuple[Known, list[Notice]]:
    """Return the same with everything told that is due now, in the order in which it became due."""
    notices: list[Notice] = []
    while (moment := next_due(known, now)) is not None:
        of_deployments, of_them = deployments.settle(known.deployments, moment)
        lost, of_agents = agents.settle(known.agents, moment)
        known = replace(known, deployments=of_deployments, agents=lost)
        notices += [*of_them, *of_agents]
    return known, notices


def next_due(known: Known, now: float) -> float | None:
    """Return when what is due first now became so, in UTC seconds; None if nothing is due yet.

    Nothing is waited for longer than a moment: what seems to lie further ahead was seen before the clock was set back.
    """
    moments = [deployments.due(known.deployments), *(group.due for group in known.agents)]
    first = min((moment for moment in moments if moment is not None), default=None)
    return None if first is None or now < first <= now + 2 * MOMENT else first
