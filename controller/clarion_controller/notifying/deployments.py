"""Deployments: failed, halted, rolled back, degraded, succeeded, and stragglers that caught up; pure.

- What goes wrong in a stream (an app in an environment) is one incident, whichever deployment began it; it ends with
  the next that succeeds, a rollback by hand too, unless that was only for some of the hosts. A rollback by hand when
  nothing was wrong is told, and is no incident: somebody wanted it.
- A deployment that was aborted or superseded is nobody's surprise, and is not told.
- Nor are checks between servers: who had them made watches them, and a night tells of its own.
- A halt that is over within a breath is not told by itself: how it ended says it all.
- A straggler is a host that was behind when its deployment was done, or over: it caught up when it then is where it
  was sent. Those of one moment are told together, and before whatever they end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from msgspec.structs import replace

from clarion_controller.notice import Notice
from clarion_controller.notifying import deployment_words as words
from clarion_controller.notifying.context import Context
from clarion_controller.notifying.moment import BREATH, MOMENT
from clarion_controller.notifying.walked import Halt, Incident, Told, Walked, began, moved
from clarion_controller.state.events import AnyEvent, DeploymentAccepted, Halted, StatusChanged
from clarion_protocol.words import DeploymentStatus

_BAD = {DeploymentStatus.FAILED, DeploymentStatus.ROLLED_BACK, DeploymentStatus.DEGRADED}
_SILENT = {DeploymentStatus.ABORTED, DeploymentStatus.SUPERSEDED}


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """The newest deployment of each stream, by id, and what is wrong, by stream."""

    walked: Mapping[str, Walked] = {}
    incidents: Mapping[str, Incident] = {}


def fold(state: Deployments, seq: int, event: AnyEvent, context: Context) -> tuple[Deployments, list[Notice]]:
    """Return what is known of deployments after an event, and what is told at once."""
    if isinstance(event, DeploymentAccepted):
        return _accepted(state, event, context)
    walked = state.walked.get(context.id)
    if walked is None and isinstance(event, (Halted, StatusChanged)):
        # One that was under way when people were first told anything.
        walked = began(context, event.at)
    if walked is None:
        return state, []
    if isinstance(event, StatusChanged):
        return _changed(_with(state, walked), seq, event, walked.id)
    if isinstance(event, Halted):
        return _with(state, replace(walked, halt=Halt(seq, event.at, event.reason))), []
    after = moved(walked, seq, event, context)
    return (_with(state, after) if after is not walked else state), []


def settle(state: Deployments, now: float) -> tuple[Deployments, list[Notice]]:
    """Return the same with everything told that is due now."""
    notices: list[Notice] = []
    for id_, walked in sorted(state.walked.items(), key=_first):
        if walked.caught_up and now >= walked.caught_at + MOMENT:
            state, told = _stragglers(state, id_)
            notices += told
        if walked.halt and now >= walked.halt.at + BREATH:
            state, told = _halt(state, id_)
            notices += told
    return state, notices


def due(state: Deployments) -> float | None:
    """Return when the next notice is due though nothing happens."""
    moments = [walked.due for walked in state.walked.values()]
    return min((moment for moment in moments if moment is not None), default=None)


def withdraw(state: Deployments, environments: Collection[str], now: float) -> tuple[Deployments, list[Notice]]:
    """Return what is known of these environments alone, and what is told of incidents in others."""
    walked = {id_: each for id_, each in state.walked.items() if each.environment in environments}
    gone = [stream for stream in state.incidents if _place(stream)[0] not in environments]
    told = [words.withdrawn(*_place(stream), state.incidents[stream], now) for stream in gone]
    kept = {stream: incident for stream, incident in state.incidents.items() if stream not in gone}
    return replace(state, walked=walked, incidents=kept), told


def _accepted(state: Deployments, event: DeploymentAccepted, context: Context) -> tuple[Deployments, list[Notice]]:
    """Let a deployment begin; what was before it in its stream is told to its end, and forgotten."""
    walked = began(context, event.at)
    if walked is None:
        return state, []
    notices: list[Notice] = []
    for id_ in [id_ for id_, each in state.walked.items() if each.stream == walked.stream]:
        state, told = _stragglers(state, id_)
        state = _without(state, id_)
        notices += told
    return _with(state, replace(walked, absent=tuple(event.absent))), notices


def _changed(state: Deployments, seq: int, event: StatusChanged, id_: str) -> tuple[Deployments, list[Notice]]:
    """Return what is known after a deployment's status changed, and what is told of it: first who caught up before."""
    state, notices = _stragglers(state, id_)
    before = state.walked[id_]
    walked = replace(before, status=event.status)
    told = Told(seq, event.at)
    if event.status in _SILENT:
        return _without(state, id_), notices
    if event.status is DeploymentStatus.SUCCEEDED:
        state, notice = _ended_well(_without(state, id_), told, walked, event.reason)
        return state, [*notices, notice]
    if event.status not in _BAD:
        return _with(state, walked), notices
    state, incident = _opened(state, walked, told)
    state = _with(state, replace(walked, halt=None))
    return state, [*notices, words.ended_badly(told, before, walked, incident, event.reason)]


def _ended_well(state: Deployments, told: Told, walked: Walked, reason: str) -> tuple[Deployments, Notice]:
    incident = state.incidents.get(walked.stream)
    if incident is None or not _ends(walked, incident):
        return state, words.succeeded(told, walked, None, reason)
    rest = {stream: each for stream, each in state.incidents.items() if stream != walked.stream}
    return replace(state, incidents=rest), words.succeeded(told, walked, incident, reason)


def _ends(walked: Walked, incident: Incident) -> bool:
    return walked.is_whole or not incident.is_whole or incident.deployment == walked.id


def _opened(state: Deployments, walked: Walked, told: Told) -> tuple[Deployments, Incident]:
    """Return the incident of a deployment's stream; if there is none, it began with the halt, or now."""
    since = walked.halt.at if walked.halt else told.at
    if incident := state.incidents.get(walked.stream):
        is_whole = incident.is_whole or walked.is_whole
        wider = replace(incident, is_whole=is_whole, since=min(incident.since, since))
        return _with_incident(state, walked.stream, wider), wider
    name = f"deployment-{walked.environment}-{walked.app}-{told.seq}"
    incident = Incident(name=name, since=since, deployment=walked.id, is_whole=walked.is_whole)
    return _with_incident(state, walked.stream, incident), incident


def _halt(state: Deployments, id_: str) -> tuple[Deployments, list[Notice]]:
    """Return the notice of a halt that is not over yet."""
    walked = state.walked[id_]
    if walked.halt is None:
        return state, []
    told = Told(walked.halt.seq, walked.halt.at)
    state, incident = _opened(state, walked, told)
    return _with(state, replace(walked, halt=None)), [words.halted(told, walked, incident, walked.halt.reason)]


def _stragglers(state: Deployments, id_: str) -> tuple[Deployments, list[Notice]]:
    """Return the notice of who caught up and is not told yet, if anybody."""
    walked = state.walked[id_]
    if not walked.caught_up:
        return state, []
    notice = words.caught_up(walked, state.incidents.get(walked.stream))
    return _with(state, replace(walked, caught_up=())), [notice]


def _first(item: tuple[str, Walked]) -> int:
    """Return the number of the first event of a deployment that is not told yet, by which those due are told."""
    walked = item[1]
    seqs = [walked.caught_seq] if walked.caught_up else []
    return min([*seqs, walked.halt.seq] if walked.halt else seqs, default=0)


def _place(stream: str) -> tuple[str, str]:
    """Return the environment and the app of a stream."""
    environment, _, app = stream.partition("/")
    return environment, app


def _with_incident(state: Deployments, stream: str, incident: Incident) -> Deployments:
    return replace(state, incidents={**state.incidents, stream: incident})


def _with(state: Deployments, walked: Walked) -> Deployments:
    return replace(state, walked={**state.walked, walked.id: walked})


def _without(state: Deployments, id_: str) -> Deployments:
    return replace(state, walked={other: each for other, each in state.walked.items() if other != id_})
