"""The folder of one night on this machine's disk, locked for as long as its process lives.

A sweep takes a folder away if nobody holds its lock. That is decided, and folders are made, only under the lock of the
folder above: so a folder is never seen between its making and its locking.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clarion_controller.durable_files import disk_trouble
from clarion_controller.provisioners.containers.cgroups import remove_dead
from clarion_protocol.errors import Blocked, HostError

_REMOVED_WITHIN_S = 600.0


class NightFolder:
    """The folder `name` below `place`; `group` is what its night's control groups are called."""

    def __init__(self, place: Path, name: str) -> None:
        """Make and lock it.

        Raises:
            Blocked: a night of that name is under way.
            HostError, NoSpace: it cannot be made.
        """
        self.path = place / name
        self.group = prefix_of(place) + name
        with _locked_place(place), disk_trouble(place):
            try:
                # For root alone: until its root file systems are given away, root's set-user-id programs lie in them.
                self.path.mkdir(mode=0o700)
            except FileExistsError as error:
                raise Blocked(f"{self.path} is there already", hint="Wait for the night that has it.") from error
            self._lock = _opened(self.path)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Take it away, with everything in it."""
        remove_tree(self.path)
        os.close(self._lock)


def sweep(place: Path) -> list[str]:
    """Take away the folders and control groups of nights below `place` that have died; return what that was."""
    if not place.is_dir():
        return []
    with ExitStack() as held:
        with _locked_place(place):
            folders = [path for path in sorted(place.iterdir()) if path.is_dir() and not path.is_symlink()]
            dead = [path for path in folders if _is_dead(path, held)]
            alive = {prefix_of(place) + path.name for path in folders if path not in dead}
            groups = remove_dead(prefix_of(place), alive)
        for path in dead:
            remove_tree(path)
    return [*(f"folder {path}" for path in dead), *(f"control group {name}" for name in groups)]


def remove_tree(path: Path) -> None:
    """Remove a folder, but never what somebody has mounted inside it.

    Raises:
        HostError: something of it cannot be removed.
    """
    command = ["rm", "--recursive", "--force", "--one-file-system", "--", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_REMOVED_WITHIN_S, check=False)
    if done.returncode != 0:
        raise HostError(f"{path} cannot be removed: {done.stderr.strip()[-500:]}", hint=f"Run 'findmnt -R {path}'.")


def _is_dead(path: Path, held: ExitStack) -> bool:
    try:
        descriptor = _opened(path)
        held.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


@contextmanager
def _locked_place(place: Path) -> Iterator[None]:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _opened(place)
    except OSError as error:
        raise HostError(f"{place} cannot be used: {error.strerror}", hint="Run it as root.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def prefix_of(place: Path) -> str:
    """Return how the control groups of nights in `place` begin: whether a night elsewhere lives is not known here."""
    return f"clarion-night-{hashlib.sha256(os.fsencode(place.absolute())).hexdigest()[:8]}-"
