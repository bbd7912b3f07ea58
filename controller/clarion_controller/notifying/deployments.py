"""Deployments: failed, halted, rolled back, degraded, succeeded, and stragglers that caught up; pure.

- What goes wrong in a stream (an app in an environment) is one incident, whichever deployment began it; it ends with
  the next that succeeds, unless that was only for some of the hosts.
- A deployment that was aborted or superseded is nobody's surprise, and is not told.
- A straggler is a host that was behind when its deployment was done, or over: it caught up when it then is where it
  was sent. Those of one moment are told together, and before whatever they end.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from clarion_controller.notice import Notice
from clarion_controller.notifying import deployment_words as words
from clarion_controller.notifying.context import Context
from clarion_controller.notifying.walked import Incident, Told, Walked, began, moved
from clarion_controller.state.events import AnyEvent, DeploymentAccepted, Halted, StatusChanged
from clarion_protocol.wire import HEARTBEAT_REPORT_S
from clarion_protocol.words import DeploymentStatus

MOMENT = HEARTBEAT_REPORT_S

_GOOD = {DeploymentStatus.SUCCEEDED}
_BAD = {DeploymentStatus.FAILED, DeploymentStatus.ROLLED_BACK, DeploymentStatus.DEGRADED}
_SILENT = {DeploymentStatus.ABORTED, DeploymentStatus.SUPERSEDED}


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """The newest deployment of each stream, by id, and what is wrong, by stream."""

    walked: Mapping[str, Walked] = {}
    incidents: Mapping[str, Incident] = {}


def fold(state: Deployments, seq: int, event: AnyEvent, context: Context) -> tuple[Deployments, list[Notice]]:
    """Return what is known of deployments after an event, and what is told at once."""
    if isinstance(event, DeploymentAccepted):
        return _accepted(state, event, context), []
    walked = state.walked.get(context.id)
    if isinstance(event, (Halted, StatusChanged)):
        # One that was under way when people were first told anything.
        walked = walked or began(context, event.at)
        return _turned(state, Told(seq, event.at), event, walked) if walked else (state, [])
    if walked is None:
        return state, []
    after = moved(walked, seq, event, context)
    return (_with(state, after) if after is not walked else state), []


def settle(state: Deployments, now: float) -> tuple[Deployments, list[Notice]]:
    """Return the same with the stragglers told whose moment is over."""
    notices: list[Notice] = []
    for walked in list(state.walked.values()):
        if walked.caught_up and now >= walked.caught_at + MOMENT:
            state, told = _stragglers(state, walked)
            notices += told
    return state, notices


def due(state: Deployments) -> float | None:
    """Return when the next notice is due."""
    return min((each.caught_at + MOMENT for each in state.walked.values() if each.caught_up), default=None)


def _accepted(state: Deployments, event: DeploymentAccepted, context: Context) -> Deployments:
    walked = began(context, event.at)
    if walked is None:
        return state
    others = {id_: each for id_, each in state.walked.items() if each.stream != walked.stream}
    walked = replace(walked, absent=tuple(event.absent))
    return replace(state, walked={**others, walked.id: walked})


def _turned(
    state: Deployments, told: Told, event: Halted | StatusChanged, walked: Walked
) -> tuple[Deployments, list[Notice]]:
    """Return what is known after a deployment took a turn, and what is told of it: first who caught up before."""
    state, notices = _stragglers(_with(state, walked), walked)
    walked = state.walked[walked.id]
    if isinstance(event, Halted):
        state, incident = _opened(state, told, walked)
        return state, [*notices, words.halted(told, walked, incident, event.reason)]
    before, walked = walked, replace(walked, status=event.status)
    if event.status in _SILENT:
        return _forget(state, walked), notices
    if event.status in _GOOD:
        state, notice = _ended_well(state, told, walked, event.reason)
        return state, [*notices, notice]
    state = _with(state, walked)
    if event.status not in _BAD or _is_repeated(before, event):
        return state, notices
    state, incident = _opened(state, told, walked)
    return state, [*notices, words.ended_badly(told, before, walked, incident, event.reason)]


def _is_repeated(before: Walked, event: StatusChanged) -> bool:
    return before.status is event.status


def _ended_well(state: Deployments, told: Told, walked: Walked, reason: str) -> tuple[Deployments, Notice]:
    incident = state.incidents.get(walked.stream)
    ends = incident is not None and (walked.is_whole or not incident.is_whole or incident.deployment == walked.id)
    notice = words.succeeded(told, walked, incident if ends else None, reason)
    if ends:
        rest = {stream: each for stream, each in state.incidents.items() if stream != walked.stream}
        state = replace(state, incidents=rest)
    return _forget(state, walked), notice


def _opened(state: Deployments, told: Told, walked: Walked) -> tuple[Deployments, Incident]:
    """Return the incident of a deployment's stream, begun now if there is none."""
    if incident := state.incidents.get(walked.stream):
        return state, incident
    name = f"deployment-{walked.environment}-{walked.app}-{told.seq}"
    incident = Incident(name=name, since=told.at, deployment=walked.id, is_whole=walked.is_whole)
    return replace(state, incidents={**state.incidents, walked.stream: incident}), incident


def _stragglers(state: Deployments, walked: Walked) -> tuple[Deployments, list[Notice]]:
    """Return the notice of who caught up and is not told yet, if anybody."""
    if not walked.caught_up:
        return state, []
    notice = words.caught_up(walked, state.incidents.get(walked.stream))
    return _with(state, replace(walked, caught_up=())), [notice]


def _with(state: Deployments, walked: Walked) -> Deployments:
    return replace(state, walked={**state.walked, walked.id: walked})


def _forget(state: Deployments, walked: Walked) -> Deployments:
    return replace(state, walked={id_: each for id_, each in state.walked.items() if id_ != walked.id})
