"""What runs on this host now, as it is reported: from the disk and the service manager, never from memory."""

from __future__ import annotations

from pathlib import Path

from clarion_agent.app_folder import AppFolder
from clarion_agent.attempt import Host
from clarion_protocol.documents import Running
from clarion_protocol.words import is_name


def what_runs(host: Host) -> list[Running]:
    """Return what each app on `host` runs."""
    found = (_running_in(folder, host) for folder in folders_below(host.config.apps))
    return [running for running in found if running is not None]


def folders_below(root: Path) -> list[AppFolder]:
    """Return the folders of all apps below `root`, by name."""
    found = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [AppFolder(path) for path in found if is_name(path.name)]


def _running_in(folder: AppFolder, host: Host) -> Running | None:
    current = folder.current()
    record = folder.record(current) if current else None
    if record is None:
        return None
    ref = record.release
    is_active = all(host.services.state(unit).is_active for unit in host.config.units_of(folder.app))
    return Running(folder.app, ref.version, ref.release, ref.sha256, is_active)
