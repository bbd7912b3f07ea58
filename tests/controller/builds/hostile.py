"""Apps whose build does what it should not, and places where they can be built: between walls, or without any."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from clarion_controller.builds import sandbox
from clarion_controller.builds.limits import Limits
from clarion_protocol.errors import BuildFailed

VERSION = "1.0"
MB = 2**20
# Enough for our own programs; a test changes what it is about.
LIMITS = Limits(disk=256 * MB, timeout=40)


def why_not() -> str:
    """Return why no sandbox can be built here, or nothing."""
    return "" if shutil.which("bwrap") else "bubblewrap is not installed"


needs_walls = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


def app(folder: Path, script: str, name: str = "shop") -> Path:
    """Write the source of an app whose build runs the Python program `script`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clarion.toml").write_text(f'[app]\nname = "{name}"\n[build]\nrun = ["python3 attack.py"]\n')
    (folder / "attack.py").write_text(script)
    return folder


class Lines:
    """A log that remembers."""

    def __init__(self) -> None:
        self.text = b""

    def __call__(self, lines: bytes) -> None:
        """Remember whole lines."""
        assert lines.endswith(b"\n")
        self.text += lines

    def said(self) -> str:
        """Return all of it."""
        return self.text.decode()


def said_in_sandbox(tmp_path: Path, script: str, limits: Limits = LIMITS) -> str:
    """Build `script` between walls; return what it printed, and how it failed if it did."""
    lines = Lines()
    try:
        sandbox.build(app(tmp_path / "source", script), tmp_path / "out", VERSION, limits, lines)
    except BuildFailed as error:
        lines(f"FAILED: {error}\n".encode())
    return lines.said()


def left_in(folder: Path) -> list[str]:
    """Return the names in `folder`."""
    return sorted(os.listdir(folder))  # noqa: PTH208
