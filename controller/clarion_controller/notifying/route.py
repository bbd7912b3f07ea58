"""Which channels get a notice: pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.notice import Kind, Notice


def route(notice: Notice, channels: Sequence[Channel], told: Collection[str], *, is_late: bool = False) -> list[str]:
    """Return the names of the channels that get a notice; `told` are those that know of its incident.

    Whoever heard that something broke hears that it is over, whatever the channel's filters say. What is late, or is
    only no longer watched, is news to nobody else.
    """
    is_for_all = not (is_late or notice.kind is Kind.WITHDRAWN)
    return [
        channel.name
        for channel in channels
        if (is_for_all and _wants(channel, notice)) or (notice.resolves and channel.name in told)
    ]


def _wants(channel: Channel, notice: Notice) -> bool:
    # What concerns no environment, a build, is told everywhere.
    is_near = not channel.environments or not notice.environment or notice.environment in channel.environments
    is_meant = not channel.kinds or notice.kind in channel.kinds
    return is_near and is_meant and notice.severity.rank >= channel.min_severity.rank
