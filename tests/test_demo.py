"""`make demo` as a whole: real processes, real keys, and its own comparison of what is claimed with what is seen."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEMO = Path(__file__).parent.parent / "examples" / "demo" / "run.py"

pytestmark = [pytest.mark.timeout(400), pytest.mark.once]


def test_the_demo_finds_everything_as_it_claims(tmp_path: Path) -> None:
    """Rolling without a lost request, a broken version that goes back, a changed byte and a replay that are refused."""
    done = subprocess.run([sys.executable, str(DEMO)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "✗" not in done.stdout
    assert not (tmp_path / "demo-run").exists(), "logs are kept only if something was a surprise"


def test_ctrl_c_ends_every_process_that_the_demo_started(tmp_path: Path) -> None:
    """Also in the middle of starting them."""
    with subprocess.Popen(
        [sys.executable, str(DEMO)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as demo:
        started = wait_for_children(demo.pid, 3)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "everything that was started has been ended" in err
    assert not psutil.wait_procs(started, timeout=10)[1]


def wait_for_children(pid: int, count: int) -> list[psutil.Process]:
    """Return the processes below `pid`, as soon as there are `count`."""
    deadline = time.monotonic() + 60
    children: list[psutil.Process] = []
    while len(children) < count:
        children = psutil.Process(pid).children(recursive=True)
        assert time.monotonic() < deadline, "the demo does not start anything"
        time.sleep(0.05)
    return children
