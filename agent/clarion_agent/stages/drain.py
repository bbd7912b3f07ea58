"""Drain: ask for no more traffic. A drained host is a debt, so it is written down before it is made."""

from __future__ import annotations

from clarion_agent import durable
from clarion_agent.attempt import Switch


def do(switch: Switch) -> None:
    """Raise the flag, and wait as long as clarion.toml says it takes until traffic has left.

    The flag is durable *before* the wait: an agent killed in between finds the debt.
    """
    raise_flag(switch)
    switch.stopper.wait(switch.folder.config_of(switch.intent.to).drain.wait)


def undo(switch: Switch) -> None:
    """Take the flag down: whatever became of the deployment, this host does not stay drained."""
    take_flag_down(switch)


def raise_flag(switch: Switch) -> None:
    """Write the debt, then the flag."""
    switch.note(is_drained=True)
    durable.write_atomic(switch.folder.drain_flag, b"", mode=0o644)


def take_flag_down(switch: Switch) -> None:
    """Remove the flag, then the debt."""
    durable.remove_file(switch.folder.drain_flag)
    switch.note(is_drained=False)
