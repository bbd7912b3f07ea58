"""systemd, through systemctl and journalctl.

Not through D-Bus: a bus library would be one more dependency that parses what others send,
and these two programs are there wherever systemd is. Arguments are lists; a unit's name
has been checked by `agent.toml`'s schema and goes behind "--", so it is never an option.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from clarion_agent.printable import printable
from clarion_agent.stages.restart import UnitState
from clarion_protocol.errors import RestartFailed

RESTART_TIMEOUT_S = 180.0
QUERY_TIMEOUT_S = 10.0
LOG_LINES = 60


class Systemd:
    """The service manager of this host."""

    def restart(self, unit: str) -> None:
        """Restart `unit`; with Type=notify this returns once the service says that it is ready.

        Raises:
            RestartFailed: systemd says that it did not start.
        """
        try:
            done = _call(["systemctl", "restart", "--", unit], RESTART_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise RestartFailed(
                f"{unit} did not start within {RESTART_TIMEOUT_S:.0f} s", hint=f"Run: systemctl status {unit}"
            ) from error
        if done.returncode != 0:
            said = printable(done.stderr, 500).strip()
            raise RestartFailed(f"{unit} did not start: {said}", hint=f"Run: journalctl -eu {unit}")

    def stop(self, unit: str) -> None:
        """Stop `unit`, and forget that it failed."""
        _call(["systemctl", "stop", "--", unit], RESTART_TIMEOUT_S)
        _call(["systemctl", "reset-failed", "--", unit], QUERY_TIMEOUT_S)

    def state(self, unit: str) -> UnitState:
        """Return whether `unit` is active, and its main process."""
        shown = _call(["systemctl", "show", "--property=ActiveState,MainPID", "--", unit], QUERY_TIMEOUT_S)
        values = dict(line.partition("=")[::2] for line in shown.stdout.decode("utf-8", "replace").splitlines())
        return UnitState(values.get("ActiveState") == "active", int(values.get("MainPID") or 0))

    def log_tail(self, unit: str) -> str:
        """Return the last lines that `unit` logged since this machine started."""
        options = ["--boot", "--no-pager", f"--lines={LOG_LINES}", "--output=short-iso", f"--unit={unit}"]
        try:
            return printable(_call(["journalctl", *options], QUERY_TIMEOUT_S).stdout)
        except (OSError, subprocess.TimeoutExpired):
            return ""  # a log is only a help; that it is not to be had must not hide what went wrong


def _call(command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False)
