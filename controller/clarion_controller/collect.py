"""What hosts said, judged: genuine reports become events, words to remember and acknowledgements.

Verify first, remember after: a report is believed when the host's own key signed it and
its number is new. One that was recorded already (its acknowledgement got lost) is
acknowledged again; anything else that is not believed is counted, logged and forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from clarion_controller.gateway.gateway import Inbound
from clarion_controller.state.events import HostMoved
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_controller.state.roster import Host, Roster
from clarion_controller.state.rows import HostWord, StoredLog
from clarion_protocol import strict_json
from clarion_protocol.documents import Deployment, Head, Progress, Report
from clarion_protocol.errors import SignalError, StaleSequence, WrongAddress
from clarion_protocol.trust import accept_report
from clarion_protocol.wire import MAX_SMALL_BODY, Ask, Up
from clarion_protocol.words import HostStatus

_log = structlog.get_logger(__name__)


Saying = tuple[Host, Report, Progress]

# What no honest host needs in one deployment; a hostile one cannot fill the log, nor hold up a deadline for ever.
MAX_MOVES = 500
# What only the controller can know of a host: one that says so of itself lies.
_NOTHING = HostState(name="")
_NOT_FOR_HOSTS = {HostStatus.UNREACHABLE, HostStatus.DRIFTED}


@dataclass
class Collected:
    """One batch of what hosts said, believed; `clocks` says by how much (s) a host's is ahead."""

    words: list[HostWord] = field(default_factory=list)
    progress: list[Saying] = field(default_factory=list)
    asks: list[tuple[Host, Ask]] = field(default_factory=list)
    acks: dict[str, int] = field(default_factory=dict)
    heads: list[tuple[Host, Mapping[str, Head]]] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)
    clocks: dict[str, float] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


def collect(arrived: Iterable[Inbound], roster: Roster, cluster: str, now: float) -> Collected:
    """Return what may be believed of all that arrived, in the order in which it came."""
    collected = Collected()
    for inbound in arrived:
        host = roster.get(inbound.host)
        if host is None:
            collected.refused["unknown_host"] += 1
            continue
        try:
            _take(inbound, host, collected, _Stand(cluster, now))
        except SignalError as error:
            collected.refused[error.code] += 1
            _log.warning("report.refused", host=host.name, code=error.code, reason=error.message)
    return collected


def said_in(state: RolloutState, said: Iterable[Saying]) -> Iterator[Saying]:
    """Return what hosts said of this deployment; a host that it cannot be for has no say in it."""
    document = state.deployment
    return (
        (host, report, each)
        for host, report, each in said
        if each.deployment == document.id and (state.knows(host.id) or _is_for_all_with(document, host))
    )


def moves(state: RolloutState, said: Sequence[Saying], now: float) -> list[HostMoved]:
    """Return the events that make of `state` what its hosts said; a repetition is none."""
    parts = {host.id: state.hosts.get(host.id) or state.gone.get(host.id) or _NOTHING for host, _, _ in said}
    known = {id_: (part.status, part.reason, part.error) for id_, part in parts.items()}
    left = {id_: MAX_MOVES - part.moves for id_, part in parts.items()}
    events: list[HostMoved] = []
    for host, _, progress in said:
        stands = (progress.status, progress.reason, progress.error)
        if known[host.id] == stands or left[host.id] <= 0 or progress.status in _NOT_FOR_HOSTS:
            continue
        known[host.id] = stands
        left[host.id] -= 1
        status, reason, error = stands
        events.append(HostMoved(at=now, host=host.id, status=status, stage=progress.stage, reason=reason, error=error))
    return events


def log_entries(said: Iterable[Saying]) -> list[StoredLog]:
    """Return what people may want to read later."""
    return [
        StoredLog(
            deployment=progress.deployment,
            host=host.id,
            at=float(report.at),
            status=progress.status.value,
            stage=progress.stage.value if progress.stage else None,
            reason=progress.reason,
            error=progress.error,
            log=progress.log,
        )
        for host, report, progress in said
    ]


def _is_for_all_with(document: Deployment, host: Host) -> bool:
    return document.targets.all and document.environment == host.environment


@dataclass(frozen=True)
class _Stand:
    cluster: str
    now: float


def _take(inbound: Inbound, host: Host, collected: Collected, at: _Stand) -> None:
    if inbound.kind is Up.ASK:
        ask = strict_json.decode(inbound.body, Ask, max_bytes=MAX_SMALL_BODY)
        collected.asks.append((host, ask))
        collected.heads.append((host, ask.heads))
    else:
        _take_report(inbound, host, collected, at)
    collected.heard.add(host.id)


def _take_report(inbound: Inbound, host: Host, collected: Collected, at: _Stand) -> None:
    last = max(host.report_seq, collected.acks.get(host.id, 0))
    try:
        report = accept_report(inbound.body, host.id, host.sign_key, last)
    except StaleSequence:
        collected.acks[host.id] = last
        return
    if report.cluster != at.cluster:
        raise WrongAddress(f"host {host.name} reports to another cluster")
    collected.acks[host.id] = report.seq
    collected.heads.append((host, report.heads))
    collected.words.append(HostWord(host.id, at.now, replace(report, progress=None)))
    if report.progress:
        collected.progress.append((host, report, report.progress))
    else:  # a heartbeat is never kept to be repeated, so it tells the time
        collected.clocks[host.id] = report.at - at.now
