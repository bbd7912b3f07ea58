"""What a builder says that finds no controller: what the command line says, not numbers of the kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clarion_controller.builds.builder_client import Desk
from clarion_protocol.errors import ControllerUnreachable


def test_a_socket_that_is_not_there_is_no_controller(tmp_path: Path) -> None:
    """With how to start one."""
    with pytest.raises(ControllerUnreachable) as caught:
        Desk(tmp_path / "sock").take(0)
    assert caught.value.message == f"no controller answers at {tmp_path}/sock: there is no such socket"
    assert "'clarion serve'" in (caught.value.hint or "")


def test_a_socket_that_does_not_open_to_this_user(tmp_path: Path) -> None:
    """It says so: the controller is there."""
    program = f"""
import os
from pathlib import Path
from clarion_controller.builds.builder_client import Desk
os.setuid(65534) if os.getuid() == 0 else None
try: Desk(Path({str(tmp_path)!r}, "closed", "sock")).take(0)
except Exception as error: print(error.message, error.hint, sep="\\n")
"""
    (tmp_path / "closed").mkdir(mode=0o000)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        f"you may not open {tmp_path}/closed/sock",
        "Run it as its unit does: 'systemctl start clarion-builder'.",
    ]
