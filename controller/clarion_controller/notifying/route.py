"""Which channels get a notice: pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.notice import Notice, Severity


def route(notice: Notice, channels: Sequence[Channel], told: Collection[str]) -> list[str]:
    """Return the names of the channels that get a notice; `told` are those that know of its incident.

    Whoever heard that something broke hears that it is well again, whatever the channel's filters say.
    """
    return [
        channel.name for channel in channels if _wants(channel, notice) or (notice.resolves and channel.name in told)
    ]


def opens(notice: Notice) -> bool:
    """Return whether a notice says that something is wrong, so that its end is told as well."""
    return not notice.resolves and notice.severity.rank > Severity.INFO.rank


def _wants(channel: Channel, notice: Notice) -> bool:
    # What concerns no environment, a build, is told everywhere.
    is_near = not channel.environments or not notice.environment or notice.environment in channel.environments
    is_meant = not channel.kinds or notice.kind in channel.kinds
    return is_near and is_meant and notice.severity.rank >= channel.min_severity.rank
