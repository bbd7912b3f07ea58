"""A control group for each server, so that their systemds do not share one.

This is the one thing that the kernel does not clear away with the island: `remove` does.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

PREFIX = "clarion-lab-"
GRACE = 10.0


def create(lab: str, server: str) -> list[Path]:
    """Make the server's group in each hierarchy that systemd manages, and return the groups."""
    groups = [hierarchy / f"{PREFIX}{lab}" / server for hierarchy in _hierarchies()]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def labs() -> set[str]:
    """Return the names of the labs that have groups on this machine, living or dead."""
    found = (path for hierarchy in _hierarchies() for path in hierarchy.glob(f"{PREFIX}*"))
    return {path.name.removeprefix(PREFIX) for path in found}


def remove(lab: str) -> None:
    """Remove all groups of a lab whose processes have ended or are about to.

    Raises:
        TimeoutError: a process of that lab is still alive.
    """
    deadline = time.monotonic() + GRACE
    for hierarchy in _hierarchies():
        top = hierarchy / f"{PREFIX}{lab}"
        while top.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{top} still holds processes after {GRACE:.0f} s")
            _remove_tree(top)


def _remove_tree(top: Path) -> None:
    for path in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
    try:
        top.rmdir()
    except OSError:
        # the kernel takes a moment to bury the processes that it has killed
        time.sleep(0.02)


def _hierarchies() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(where) for _, where, kind, options, *_ in mounts if kind == "cgroup2" or _is_named(kind, options)]


def _is_named(kind: str, options: str) -> bool:
    return kind == "cgroup" and "name=systemd" in options.split(",")
