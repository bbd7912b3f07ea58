"""The folder that one night works in, and what is left of those of nights that died."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(cluster: str) -> Iterator[Path]:
    """Hand out a new folder below TMPDIR (or /var/tmp: builds are large), and take it away with all that is in it."""
    path = Path(tempfile.mkdtemp(prefix=_prefix(cluster), dir=_place()))
    # Builds run as another user, who has to come by; what lies in it is nobody's secret.
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep_folders(cluster: str) -> list[str]:
    """Take away the folders of earlier nights, and return which; only who holds the lock may ask for this."""
    found = [path for path in _place().glob(f"{_prefix(cluster)}*") if _is_ours(path)]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return [f"folder {path}" for path in found]


def _is_ours(path: Path) -> bool:
    """Return whether this user made the folder: in a place where everybody may write, a name says nothing."""
    return not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.geteuid()


def _prefix(cluster: str) -> str:
    return f"clarion-nightly-{cluster[:12]}-"


def _place() -> Path:
    return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 (mkdtemp makes names that nobody can guess)
