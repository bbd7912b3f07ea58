"""Activate: point `current` to the new release, by one rename; this is the moment of the switch."""

from __future__ import annotations

from clarion_agent import durable
from clarion_agent.attempt import Switch
from clarion_agent.stages import check, restart
from clarion_protocol.errors import NothingToGoBackTo
from clarion_protocol.words import Stage


def do(switch: Switch) -> None:
    """Swap the link. The release has been synced, and the intent is in the journal, so this may be done again.

    Raises:
        NothingToGoBackTo: the release is not here (any more).
    """
    if switch.folder.record(switch.intent.to) is None:
        raise NothingToGoBackTo(f"release {switch.intent.to} is not unpacked on this host")
    switch.folder.point_to(switch.intent.to)


def undo(switch: Switch) -> None:
    """Swap the link back, and make what runs agree with it.

    This is where the restart is undone as well: restarting before the link is back would
    only start the failed release again.

    Raises:
        RestartFailed, Unhealthy: the release that ran before does not run any more.
    """
    before = switch.intent.before
    if switch.folder.current() == before and switch.intent.stage in (Stage.DRAIN, Stage.ACTIVATE):
        return  # told to stop before the swap: what runs was never touched, so it is not restarted either
    if before is None:
        restart.stop_units(switch, switch.intent.to)
        durable.remove_file(switch.folder.current_link)
        return
    switch.folder.point_to(before)
    restart.restart_units(switch, before)
    check.wait_until_healthy(switch, before)
