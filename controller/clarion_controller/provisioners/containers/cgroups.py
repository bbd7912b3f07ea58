"""Control groups below this process's own, one for each container: two systemds must not share one.

They are the one thing in memory that the kernel does not clear away when a night is killed; `remove_dead` does. On a
server they lie in the unit's own group (Delegate=yes), so `systemctl stop` and the unit's limits hold for all of them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from clarion_protocol.errors import BadConfig, ProvisionFailed

_GRACE_S = 10.0
_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


class Groups:
    """The groups of one night; `name` is unlike any other night's on this machine."""

    def __init__(self, name: str) -> None:
        self._name = name

    def command(self, group: str, argv: list[str]) -> list[str]:
        """Return the command line that runs `argv` in a new group, such as "1/boot".

        Raises:
            BadConfig: this process may make no groups.
        """
        made = [str(self._made(own / self._name / group)) for own in _own()]
        return ["sh", "-ec", _JOIN, "sh", *made, "--", *argv]

    def remove(self, group: str = "") -> None:
        """Remove a group with all below it, once its processes have ended.

        Raises:
            ProvisionFailed: one of them is still alive after a while.
        """
        for own in _own():
            _remove(own / self._name / group)

    @staticmethod
    def _made(group: Path) -> Path:
        try:
            group.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfig(
                f"no control group can be made: {error}",
                hint="Run it as root, or as clarion-nightly.service, whose unit has Delegate=yes.",
            ) from error
        return group


def remove_dead(prefix: str, alive: Collection[str]) -> list[str]:
    """Remove the groups of this machine whose name begins so and is not among the living; return their names."""
    found = [path for mount, _, _ in _hierarchies() for path in _named(mount, prefix) if path.name not in alive]
    for path in found:
        _remove(path)
    return sorted({path.name for path in found})


def _named(top: Path, prefix: str) -> Iterator[Path]:
    for folder, folders, _ in os.walk(top):
        ours = [name for name in folders if name.startswith(prefix)]
        folders[:] = [name for name in folders if name not in ours]
        yield from (Path(folder) / name for name in ours)


def _remove(top: Path) -> None:
    deadline = time.monotonic() + _GRACE_S
    while top.exists():
        if time.monotonic() > deadline:
            raise ProvisionFailed(f"{top} still holds processes", hint=f"See them with 'cat {top}/cgroup.procs'.")
        for folder, _, _ in os.walk(top, topdown=False):
            # The kernel takes a moment to bury the processes that it has killed.
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.01)


def _own() -> list[Path]:
    """Return the group of this process in each hierarchy that systemd manages."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    mine = {controllers: path for _, controllers, path in lines}
    found = []
    for mount, root, controllers in _hierarchies():
        path = Path(mine.get(controllers, "/"))
        found.append(mount / (path.relative_to(root) if path.is_relative_to(root) else "."))
    return found


def _hierarchies() -> list[tuple[Path, str, str]]:
    """Return the hierarchies that systemd manages: where each is mounted, which part of it, and its controllers."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    fields = [(line.split(" - ")[0].split(), line.split(" - ")[1].split()) for line in lines]
    v2 = [(Path(where[4]), where[3], "") for where, what in fields if what[0] == "cgroup2"]
    v1 = [(Path(where[4]), where[3], "name=systemd") for where, what in fields if _is_systemds(what)]
    return v1 + v2


def _is_systemds(what: list[str]) -> bool:
    return what[0] == "cgroup" and "name=systemd" in what[2].split(",")
