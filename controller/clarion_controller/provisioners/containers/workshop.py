"""Where servers are built: steps with a time limit that have this machine's network, and whose words are kept.

A step ends with all that it started. It is also ended when the night is given up, and when the disk below it is nearly
full: what goes wrong on a server that is being built must not stop this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, STDOUT

from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.island import Island
from clarion_controller.provisioners.containers.users import Users
from clarion_controller.provisioners.containers.words import Words
from clarion_protocol.errors import ProvisionFailed

_LOOK_EVERY_S = 0.2


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
    """The island, the folder on the disk and the control groups in which one night's servers are built, as `users`."""

    island: Island
    folder: Path
    groups: Groups
    limits: Limits = field(default_factory=Limits)
    users: Users = field(default_factory=Users)
    given_up: threading.Event = field(default_factory=threading.Event)  # set: every step ends now

    def carry_out(self, step: Step) -> float:
        """Do a step and return how many seconds it took.

        Raises:
            ProvisionFailed: it failed, took too long, filled the disk or was given up; its last words are the end.
        """
        began = time.monotonic()
        command = self.groups.command(step.group, self.island.online_command(*step.argv))
        process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True)
        words = Words(process)
        try:
            words.say(step.stdin)
            trouble = self._watch(process, words, began + step.limit)
        finally:
            process.kill()
            process.wait()
            said = words.last()
            self.groups.remove(step.group)
        if trouble:
            raise ProvisionFailed(f"{step.name} {trouble}" + (f":\n{said}" if said else ", and said nothing"))
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

    def _watch(self, process: subprocess.Popen[bytes], words: Words, deadline: float) -> str:
        """Return what is wrong with how a step ended, or why it has to be ended; "" if nothing is."""
        while time.monotonic() < deadline:
            words.listen(_LOOK_EVERY_S)
            if process.poll() is not None:
                return f"failed with exit code {process.returncode}" if process.returncode else ""
            if self.given_up.is_set():
                return "was given up, with the whole night"
            if self._is_full():
                return f"filled the disk: less than {self.limits.floor >> 20} MB are free in {self.folder}"
        return "did not end in time"

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free < self.limits.floor
