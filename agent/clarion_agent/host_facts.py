"""What this host says of itself: load, memory, disk. People read it; nothing is decided by it."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from clarion_protocol.documents import Facts


def host_facts(apps_root: Path, *, agent_version: str, sandbox: str, trouble: str = "") -> Facts:
    """Return how this host is now; the disk is the one that holds `apps_root`."""
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(_nearest_folder(apps_root)))
    return Facts(
        hostname=socket.gethostname()[:255],
        agent_version=agent_version,
        sandbox=sandbox,
        load=round(psutil.getloadavg()[0], 2),
        cpus=psutil.cpu_count() or 0,
        memory_total=memory.total,
        memory_available=memory.available,
        disk_total=disk.total,
        disk_free=disk.free,
        trouble=trouble[:1000],
    )


def boot_id() -> str:
    """Return the kernel's id of this boot, or nothing where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _nearest_folder(path: Path) -> Path:
    return path if path.exists() or path == path.parent else _nearest_folder(path.parent)
