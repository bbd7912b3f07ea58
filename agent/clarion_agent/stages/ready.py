"""Ready: the new release is healthy, so this host takes traffic again."""

from __future__ import annotations

from clarion_agent.attempt import Switch
from clarion_agent.stages.drain import raise_flag, take_flag_down


def do(switch: Switch) -> None:
    """Take the drain flag down."""
    take_flag_down(switch)


def undo(switch: Switch) -> None:
    """Drain again: the restart that comes when going back should meet no traffic either."""
    raise_flag(switch)
