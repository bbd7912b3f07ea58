"""A machine that cannot boot the lab's servers says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_a_machine_without_the_tools_skips_and_says_so() -> None:
    """Where the tools are missing every lab test is skipped, and the last lines say how many and why."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/lab/test_lab.py"],
        env={"PATH": "/nonexistent"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "tests skipped because not installed: " in done.stdout
    assert "mmdebstrap" in done.stdout
