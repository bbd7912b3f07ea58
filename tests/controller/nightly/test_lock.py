"""One night at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clarion_controller.nightly.lock import only_one_night
from clarion_protocol.errors import Blocked, HostError

HOLD = """
import sys, time
from pathlib import Path
from clarion_controller.nightly.lock import only_one_night

with only_one_night(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_runs_and_since_when(tmp_path: Path) -> None:
    """And the third, once the first was killed, is not."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Blocked, match=rf"process {first.pid}, since 20\d\d-"), only_one_night(tmp_path):
            pass
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
    with only_one_night(tmp_path):
        assert f"process {os.getpid()}, since" in (tmp_path / "lock").read_text()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Root opens the lock in a folder of another user, and must not write where that one wants."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(HostError), only_one_night(tmp_path):
        pass
    assert precious.read_text() == "precious"
