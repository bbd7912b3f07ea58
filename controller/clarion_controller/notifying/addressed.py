"""From notices and reports to rows of the outbox: who gets what; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice
from clarion_controller.notifying.destinations import FORGE, NOTIFY, told_forges
from clarion_controller.notifying.outbox import Outgoing
from clarion_controller.notifying.route import route
from clarion_protocol import strict_json

Told = Callable[[str], set[str]]


@dataclass(frozen=True)
class Audience:
    """Who there is to hear: the channels of `fleet`; `told` returns which destinations know of an incident.

    What happened before `late` (UTC seconds) reaches only who waits for its end. `now` is when it goes out.
    """

    fleet: Fleet
    told: Told
    now: float
    late: float = 0.0


def addressed(notices: Iterable[Notice], audience: Audience) -> Iterator[Outgoing]:
    """Yield each notice for each channel that gets it."""
    opened: dict[str, set[str]] = {}  # in this very portion
    for notice in notices:
        knowing = opened.get(notice.incident, set()) | audience.told(notice.incident)
        for outgoing in _addressed(notice, audience, knowing):
            yield outgoing
            if outgoing.opens:
                opened.setdefault(outgoing.opens, set()).add(outgoing.destination)


def _addressed(notice: Notice, audience: Audience, knowing: Collection[str]) -> Iterator[Outgoing]:
    fleet, told = audience.fleet, {each.removeprefix(NOTIFY) for each in knowing}
    body = strict_json.dumps(replace(notice, cluster=fleet.cluster.name))
    for name in route(notice, fleet.notify, told, is_late=notice.at < audience.late):
        yield Outgoing(
            destination=f"{NOTIFY}{name}",
            subject=notice.id,
            body=body,
            # Not when it happened: patience begins when it goes out, whatever the clock was then.
            made_at=audience.now,
            opens=notice.incident if notice.opens else "",
        )


def reported(reports: Iterable[ForgeReport], audience: Audience) -> Iterator[Outgoing]:
    """Yield each report for the forge of its repository, if that is told anything and it is not late."""
    told = told_forges(audience.fleet)
    for report in reports:
        if report.repository in told and report.at >= audience.late:
            subject = report.deployment or report.id
            yield Outgoing(f"{FORGE}{report.repository}", subject, strict_json.dumps(report), audience.now)
