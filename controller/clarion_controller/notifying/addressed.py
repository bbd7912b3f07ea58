"""From notices and reports to rows of the outbox: who gets what; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice
from clarion_controller.notifying.destinations import FORGE, NOTIFY, told_forges
from clarion_controller.notifying.outbox import Outgoing
from clarion_controller.notifying.route import opens, route
from clarion_protocol import strict_json

Told = Callable[[str], set[str]]


def addressed(notices: Iterable[Notice], fleet: Fleet, told: Told) -> Iterator[Outgoing]:
    """Yield each notice for each channel that gets it; `told` returns which destinations know of an incident."""
    opened: dict[str, set[str]] = {}  # in this very portion
    for notice in notices:
        knowing = opened.get(notice.incident, set()) | told(notice.incident)
        channels = {each.removeprefix(NOTIFY) for each in knowing}
        signed = replace(notice, cluster=fleet.cluster.name)
        for name in route(notice, fleet.notify, channels):
            destination = f"{NOTIFY}{name}"
            yield Outgoing(
                destination=destination,
                subject=notice.id,
                body=strict_json.dumps(signed),
                made_at=notice.at,
                opens=(notice.incident,) if opens(notice) else (),
            )
            if opens(notice):
                opened.setdefault(notice.incident, set()).add(destination)


def reported(reports: Iterable[ForgeReport], fleet: Fleet) -> Iterator[Outgoing]:
    """Yield each report for the forge of its repository, if that is told anything."""
    told = told_forges(fleet)
    for report in reports:
        if report.repository in told:
            subject = report.deployment or report.id
            yield Outgoing(f"{FORGE}{report.repository}", subject, strict_json.dumps(report), report.at)
