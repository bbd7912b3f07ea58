"""Who there is to tell, by fleet.toml: each channel "notify:NAME", each repository's forge "forge:NAME"; pure."""

from __future__ import annotations

from msgspec.structs import replace

from clarion_controller.fleet_toml.fleet import Fleet

NOTIFY, FORGE = "notify:", "forge:"


def destinations(fleet: Fleet) -> list[str]:
    """Return everything that something may be sent to."""
    channels = [f"{NOTIFY}{channel.name}" for channel in fleet.notify]
    return [*channels, *(f"{FORGE}{name}" for name in told_forges(fleet))]


def told_forges(fleet: Fleet) -> list[str]:
    """Return the names of the repositories whose forge is told what becomes of pushes."""
    return [name for name, repository in fleet.repository.items() if repository.token and repository.forge != "generic"]


def renamed(before: Fleet | None, after: Fleet) -> dict[str, str]:
    """Return which channels have only another name now: the old destination to the new."""
    if before is None:
        return {}
    old = {channel.name: channel for channel in before.notify}
    new = {channel.name: channel for channel in after.notify}
    return {
        f"{NOTIFY}{name}": f"{NOTIFY}{other}"
        for name, channel in old.items()
        for other, like in new.items()
        if name not in new and other not in old and replace(channel, name=other) == like
    }
