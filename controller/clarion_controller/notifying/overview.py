"""How each channel stands, for people: read from the outbox, whether or not anybody delivers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet, load_fleet
from clarion_controller.notifying.destinations import FORGE, NOTIFY, told_forges
from clarion_controller.notifying.notices_file import NAME
from clarion_controller.notifying.outbox import GIVEN_UP, PENDING, SENT
from clarion_controller.notifying.tables import VERSION, incidents, metadata, outbox
from clarion_controller.state.side_database import open_side_database


class ChannelStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, or one repository's forge: what waits, when something last arrived, what is wrong.

    `open` counts the incidents of which it is yet to hear the end. `last_error` is why the last attempt failed, of what
    waits or was given up; "" if that arrived later. UTC seconds.
    """

    name: str
    way: str
    pending: int = 0
    last_sent: float | None = None
    last_error: str = ""
    given_up: int = 0
    open: int = 0


def overview(home: Path) -> list[ChannelStanding]:
    """Return how every channel of fleet.toml stands, and every forge that is told.

    Raises:
        BadConfig: fleet.toml does not fit, or the outbox cannot be used.
    """
    return standings(home, load_fleet(home / FILE_NAME))


def standings(home: Path, fleet: Fleet) -> list[ChannelStanding]:
    """Return how every channel of `fleet` stands, and every forge that is told.

    Raises:
        BadConfig: the outbox cannot be used.
    """
    ways = _ways(fleet)
    path = home / "state" / NAME
    if not path.exists():
        return [ChannelStanding(name=_name(each), way=way) for each, way in ways.items()]
    engine = open_side_database(path, metadata, VERSION)
    try:
        with engine.connect() as connection:
            return [_standing(connection, each, way) for each, way in ways.items()]
    finally:
        engine.dispose()


def _ways(fleet: Fleet) -> dict[str, str]:
    channels = {f"{NOTIFY}{channel.name}": channel.ways[0] for channel in fleet.notify}
    return {**channels, **{f"{FORGE}{name}": fleet.repository[name].forge for name in told_forges(fleet)}}


def _name(destination: str) -> str:
    return destination.removeprefix(NOTIFY)


def _standing(connection: Connection, destination: str, way: str) -> ChannelStanding:
    here = outbox.c.destination == destination
    counts = select(outbox.c.status, func.count(), func.max(outbox.c.ended_at)).where(here).group_by(outbox.c.status)
    by_status: dict[str, Any] = {status: (count, at) for status, count, at in connection.execute(counts)}
    unsent = select(outbox.c.error).where(here, outbox.c.status != SENT, outbox.c.error != "")
    # What failed before the last that arrived is no news.
    newest = select(func.max(outbox.c.id)).where(here, outbox.c.status == SENT).scalar_subquery()
    error = unsent.where(outbox.c.id > func.coalesce(newest, 0)).order_by(outbox.c.id).limit(1)
    known = select(func.count()).select_from(incidents).where(incidents.c.destination == destination)
    return ChannelStanding(
        name=_name(destination),
        way=way,
        pending=by_status.get(PENDING, (0, None))[0],
        last_sent=by_status.get(SENT, (0, None))[1],
        last_error=connection.execute(error).scalar() or "",
        given_up=by_status.get(GIVEN_UP, (0, None))[0],
        open=connection.execute(known).scalar_one(),
    )
