"""Commit: the host accepts the release for good, and forgets the oldest."""

from __future__ import annotations

import contextlib

import msgspec

from clarion_agent.app_folder import ReleaseRecord
from clarion_agent.attempt import Switch
from clarion_agent.journal import Phase
from clarion_protocol.words import HostStatus


def do(switch: Switch) -> None:
    """Mark the release good, then write that the deployment is done: the point of no return."""
    record = switch.folder.record(switch.intent.to)
    if record is not None and not record.is_good:
        switch.folder.save_record(msgspec.structs.replace(record, is_good=True))
    switch.note(phase=Phase.DONE, outcome=HostStatus.COMMITTED)
    # What cannot be removed today is removed after the next deployment; nothing fails for it.
    with contextlib.suppress(OSError):
        prune(switch)


def undo(switch: Switch) -> None:
    """Nothing to undo: `do` fails before its last write or not at all."""


def prune(switch: Switch) -> None:
    """Remove the oldest releases beyond `keep_releases`."""
    keep = switch.folder.config_of(switch.intent.to).app.keep_releases
    for record in removable(switch.folder.installed(), switch.intent.to, switch.intent.before, keep):
        switch.folder.remove_release(record.id)


def removable(installed: list[ReleaseRecord], running: str, before: str | None, keep: int) -> list[ReleaseRecord]:
    """Return the releases (given oldest first) to remove so that `keep` stay.

    Never what runs or ran before, and never the newest good one besides what runs: it is
    what a rollback needs.
    """
    good = [record.id for record in installed if record.is_good and record.id != running]
    safe = {running, before, *good[-1:]}
    excess = max(len(installed) - keep, 0)
    return [record for record in installed if record.id not in safe][:excess]
