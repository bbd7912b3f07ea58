"""The folder that one night works in, and what is left of those of nights that died.

It is locked for as long as its night lives, since the lock of nights is one home's, and a copy of the home has another.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clarion_controller.nightly.swept import Swept
from clarion_protocol.errors import HostError

REMOVED_WITHIN_S = 600.0


@contextmanager
def work_folder(cluster: str) -> Iterator[Path]:
    """Hand out a new folder below TMPDIR (or /var/tmp: builds are large), and take it away with all that is in it.

    If that cannot be, it is still there, for a sweep to say why.
    """
    path = Path(tempfile.mkdtemp(prefix=_prefix(cluster), dir=_place()))
    with _locked(path):
        # Builds run as another user, who has to come by; what lies in it is nobody's secret.
        path.chmod(0o711)
        try:
            yield path
        finally:
            with Swept().noting():
                _remove(path)


def sweep_folders(cluster: str) -> Swept:
    """Take away the folders of earlier nights, and say which; only who holds the lock may ask for this."""
    swept = Swept()
    for path in sorted(_place().glob(f"{_prefix(cluster)}*")):
        if _is_ours(path):
            with swept.noting(), suppress(BlockingIOError, FileNotFoundError), _locked(path):
                _remove(path)
                swept.gone.append(f"folder {path}")
    return swept


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises:
        BlockingIOError: its night lives.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a folder with all that is in it, but never what is mounted there.

    Raises:
        HostError: something of it cannot be removed.
    """
    if os.geteuid() != 0:  # whom read-only folders stop, such as Go's modules
        _run("chmod", "--recursive", "u+rwX", "--", str(path))
    if trouble := _run("rm", "--recursive", "--force", "--one-file-system", "--", str(path)):
        raise HostError(f"{path} cannot be removed: {trouble}", hint=f"Run 'findmnt -R {path}', then remove it.")


def _run(*command: str) -> str:
    """Run a program and return the end of what went wrong; "" if nothing did."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=REMOVED_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it takes longer than {REMOVED_WITHIN_S:.0f} s"
    return "" if done.returncode == 0 else done.stderr.strip()[-500:] or f"{command[0]} failed"


def _is_ours(path: Path) -> bool:
    """Return whether this user made the folder: in a place where everybody may write, a name says nothing."""
    return not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.geteuid()


def _prefix(cluster: str) -> str:
    return f"clarion-nightly-{cluster[:12]}-"


def _place() -> Path:
    return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 (mkdtemp makes names that nobody can guess)
