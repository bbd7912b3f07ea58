"""Tests of what reaches the log, as a process writes it."""

from __future__ import annotations

import json
import subprocess
import sys

FAILS = """
import structlog
from clarion_agent.logs import begin_logging

begin_logging()
secret = "the-private-key"
try:
    raise ValueError("something broke")
except ValueError:
    structlog.get_logger().exception("it.failed", host="web-1")
"""


def test_a_traceback_is_logged_as_one_line_without_local_variables() -> None:
    """What went wrong is there to read; what was in memory at that moment is not."""
    done = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True, timeout=30, check=True)
    line = json.loads(done.stderr)
    assert (line["event"], line["host"], line["level"]) == ("it.failed", "web-1", "error")
    assert line["exception"][0]["exc_value"] == "something broke"
    assert "the-private-key" not in done.stderr
