"""Where servers are built: steps with a time limit that have this machine's network, and whose words are kept.

A step ends with all that it started. It is also ended when the disk below it is nearly full: what goes wrong on a
server that is being built must not stop this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from clarion_agent.printable import printable_tail
from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.island import Island
from clarion_protocol.errors import ProvisionFailed

TAIL = 4000
_LOOK_EVERY_S = 0.2
_READY_S = 0.01


@dataclass(frozen=True)
class Limits:
    """Seconds that each step may take, and bytes that must stay free on the disk."""

    rootfs: float = 900.0
    agent: float = 300.0
    setup: float = 900.0
    boot: float = 120.0
    floor: int = 1 << 30


@dataclass(frozen=True)
class Step:
    """One thing to do: `name` is for people, `group` its control group, `limit` in seconds."""

    name: str
    group: str
    argv: tuple[str, ...]
    limit: float
    stdin: str = ""


@dataclass
class Workshop:
    """The island, the folder on the disk and the control groups in which one night's servers are built."""

    island: Island
    folder: Path
    groups: Groups
    limits: Limits = field(default_factory=Limits)

    def carry_out(self, step: Step) -> float:
        """Do a step and return how many seconds it took.

        Raises:
            ProvisionFailed: it failed, took too long or filled the disk; the message ends with its last words.
        """
        began = time.monotonic()
        log = self.folder / f"{step.group.replace('/', '-')}.log"
        command = self.groups.command(step.group, self.island.online_command(*step.argv))
        with log.open("wb") as output, (self._input(step)).open("rb") as stdin:
            process = subprocess.Popen(
                command, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                trouble = self._watch(process, began + step.limit)
            finally:
                process.kill()
                process.wait()
                self.groups.remove(step.group)
        if trouble:
            raise ProvisionFailed(f"{step.name} {trouble}{_said(log)}")
        return time.monotonic() - began

    def demand_room(self) -> None:
        """Return if there is room on the disk to go on.

        Raises:
            ProvisionFailed: it is nearly full.
        """
        if self._is_full():
            raise ProvisionFailed(
                f"less than {self.limits.floor >> 20} MB are free in {self.folder}", hint=f"Run 'df -h {self.folder}'."
            )

    def _watch(self, process: subprocess.Popen[bytes], deadline: float) -> str:
        """Return what is wrong with how a step ended, or why it has to be ended; "" if nothing is."""
        pause = _READY_S
        while time.monotonic() < deadline:
            try:
                return "" if process.wait(pause) == 0 else f"failed with exit code {process.returncode}"
            except subprocess.TimeoutExpired:
                pause = _LOOK_EVERY_S
            if self._is_full():
                return f"filled the disk: less than {self.limits.floor >> 20} MB are free in {self.folder}"
        return "did not end in time"

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free < self.limits.floor

    def _input(self, step: Step) -> Path:
        path = self.folder / f"{step.group.replace('/', '-')}.input"
        path.write_text(step.stdin, encoding="utf-8")
        return path


def _said(log: Path) -> str:
    words = printable_tail(log, TAIL).strip()
    return f":\n{words}" if words else ", and said nothing"
