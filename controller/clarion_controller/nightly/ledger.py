"""Which nights began to make servers in clouds, and were not swept since: a file each in `state/nightly/runs`.

- It is on the disk for good before the first server of its night is asked for. No record, no server: a power cut
  between the two leaves a record of nothing, which costs the next sweep one look.
- It says where that night makes servers: a role that is changed or taken out of fleet.toml is swept all the same.
- It goes when all those places were swept without trouble, and only then.
- Root writes and reads it with the rights of the home's owner. Who may write there decides what is swept, as they
  decide in fleet.toml what is made; who may write tags in a cloud does not.

A home can be copied, and the lock of nights is one machine's and one home's. So a record also says where its night
runs. If that is here, and somebody else has the lock, the night is dead. If it is elsewhere, the night may live: it is
left alone until an hour after its deadline, when it has ended itself or is dead, too. What another machine begins after
the copy was made is in no record here, and never ended from here. Machines that were cloned with their /etc/machine-id,
and homes in the same place on them, pass for one: then a sweep may end the rehearsal of the other, and nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_controller.as_owner import as_owner_of
from clarion_controller.durable_files import disk_trouble, make_folder, sync_folder, write_file
from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.history import Reports
from clarion_controller.nightly.left import GRACE_S, Begun
from clarion_controller.nightly.night import Night
from clarion_protocol.errors import BadConfig, ClarionError

MAX_RECORD_BYTES = 2**20
_RUN = re.compile(r"[0-9a-z][0-9a-z_-]{0,62}\Z")
_ID = re.compile(r"[0-9a-f-]{32,36}\Z")  # an image that was never booted has "uninitialized"
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id"))


@dataclass(frozen=True)
class Ledger:
    """The records of the nights of the cluster in `home`."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return Reports(self.home).folder / "runs"

    @property
    def here(self) -> str:
        """What this machine and this home are called in a record."""
        return f"{_machine_id()} {self.home.resolve()}"

    def begin(self, night: Night, roles: Sequence[Role]) -> None:
        """Record that a night is about to make servers of these roles.

        Raises:
            HostError, NoSpace: the disk does not take it; then nothing may be made.
        """
        until = night.began + night.fleet.nightly.deadline + GRACE_S
        record = Begun(run=night.run, place=self.here, began=night.began, until=until, roles=tuple(roles))
        Reports(self.home).make_folder()
        with disk_trouble(self.folder.parent), as_owner_of(self.home):
            make_folder(self.folder, 0o750)
            write_file(self._file(night.run), [msgspec.json.encode(record)], mode=0o640)

    def runs(self) -> list[str]:
        """Return of which runs there are records.

        Raises:
            HostError: they cannot be listed.
        """
        with disk_trouble(self.folder), suppress(FileNotFoundError), as_owner_of(self.home):
            return sorted(path.name for path in self.folder.iterdir() if _RUN.match(path.name))
        return []

    def read(self, run: str) -> Begun:
        """Return the record of a run.

        Raises:
            BadConfig: it cannot be read.
        """
        path = self._file(run)
        try:
            with as_owner_of(self.home):  # who may have put a link or a pipe there
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                found = msgspec.json.decode(file.read(MAX_RECORD_BYTES), type=Begun)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _unreadable(path, str(error)) from error
        if found.run != run:
            raise _unreadable(path, f"it is of run {found.run[:64]}")
        return found

    def forget(self, run: str) -> None:
        """Remove the record of a run, of which nothing is left.

        Raises:
            HostError: the disk does not let it go.
        """
        with disk_trouble(self.folder), as_owner_of(self.home):
            self._file(run).unlink(missing_ok=True)
            sync_folder(self.folder)

    def _file(self, run: str) -> Path:
        return self.folder / run


def _unreadable(path: Path, why: str) -> ClarionError:
    hint = "Look in the clouds for what carries its name in the tag clarion-run, and remove both."
    return BadConfig(f"{path} cannot be read: {why}", hint=hint)


def _machine_id() -> str:
    """Return the id of this machine; where it has none, of this boot of it."""
    for path in _MACHINE_IDS:
        with suppress(OSError, UnicodeDecodeError):
            if _ID.match(found := path.read_text("ascii").strip()):
                return found
    return ""
