"""Cuts the power before each operation of a deployment and looks at what the next boot finds.

    unshare --mount python -m tests.crash.powercut WORK [--without STEP] [--stop-at-first]

A file in the folder WORK holds an ext4. On it a host runs release 1. For each operation n of bringing it to release 2:
copy the file, mount it, run the real agent, and before operation n shut the file system down without flushing its log;
unmount, mount again (which replays the log), start a new agent, and look. Prints one JSON list, an object per cut.

`--without` takes a step out of the agent's durability, to show that this would be seen. The mounts live in a mount
namespace of their own and the loop devices clear themselves, so nothing is left behind whatever happens.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.agent.rig import Package, World

from clarion_agent import durable
from clarion_agent.app_folder import AppFolder
from clarion_agent.logs import begin_logging
from clarion_agent.tree import differences
from clarion_protocol.manifest_file import read_manifest

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
SIZE = 48 * 2**20
LIMIT = 60
MOST_CUTS = 1000
POWER_IS_OFF = 9
# Without its usual mercy for renames that nobody synced: a disk should be as unkind as it may be.
MOUNT_OPTIONS = "loop,noauto_da_alloc"
WORDS = {f"page-{number}.txt": f"page {number}\n" * 400 for number in range(12)}


@dataclass(frozen=True)
class Cut:
    """What a power cut before operation `n` came to: what `current` named at boot, and once the agent was done."""

    n: int
    operation: str
    path: str
    at_boot: str
    after: str
    problem: str


class Machine:
    """A host whose disk is a file."""

    def __init__(self, work: Path) -> None:
        self._base, self._image, self._mount = work / "base.img", work / "disk.img", work / "disk"
        self._mount.mkdir()
        with self._base.open("wb") as file:
            file.truncate(SIZE)
        run("mkfs.ext4", "-q", "-F", str(self._base))
        self._plug(self._base)
        self.world = World(self._mount)
        self.old = self.world.publish("1.0.0", 1, **WORDS)
        self.new = self.world.publish("2.0.0", 2, **{**WORDS, "page-3.txt": "another page 3\n" * 400})
        if in_child(self._install_old):
            raise RuntimeError("release 1 could not be installed")
        self._unplug()

    def cut(self, n: int, without: str) -> Cut | None:
        """Cut the power before operation `n` and return what became of it; None if the deployment ended before."""
        shutil.copyfile(self._base, self._image)
        note = self._base.with_name("note")
        self._plug(self._image)
        end = in_child(lambda: self._deploy_until(n, without, note))
        self._unplug()
        if end == 0:
            return None
        operation, path = note.read_text("utf-8").split(" ", 1)
        if end != POWER_IS_OFF:
            return Cut(n, operation, path, "", "", f"the agent ended with {end} before the cut")
        found = self._look(note)
        return Cut(n, operation, path, **found)

    def _look(self, note: Path) -> dict[str, str]:
        self._plug(self._image)
        note.write_text(json.dumps({"at_boot": "", "after": "", "problem": "the new agent hung"}), "utf-8")
        in_child(lambda: note.write_text(json.dumps(self._boot_and_look()), "utf-8"))
        self._unplug()
        found: dict[str, str] = json.loads(note.read_text("utf-8"))
        return found

    # -- in children ---------------------------------------------------------------------------------------------

    def _install_old(self) -> None:
        self.world.deploy(self.old)
        if self.world.current() != self.old.id:
            raise RuntimeError(str(self.world.last()))
        self.world.core.close()

    def _deploy_until(self, n: int, without: str, note: Path) -> None:
        take_out(without)
        power = self._boot(100)
        self.world.core = self.world.new_core()
        countdown = itertools.count(1)

        def watch(operation: str, path: Path) -> None:
            if next(countdown) == n:
                note.write_text(f"{operation} {path.relative_to(self._mount)}", "utf-8")
                fcntl.ioctl(power, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
                os._exit(POWER_IS_OFF)

        durable.watchers.append(watch)
        self.world.services.on_restart = lambda: watch("restart", self.world.app / "current")
        self.world.deploy(self.new)

    def _boot_and_look(self) -> dict[str, str]:
        """Return what a server finds after the cut; its services start from `current` before the agent does."""
        self._boot(200)
        at_boot = str(self.world.current())
        problems = [*self._wounds(), *self._unreadable_journal()]
        after = ""
        try:
            self.world.core = self.world.new_core()
            self.world.settle()
            after = str(self.world.current())
            problems += [*self._wounds(), *self._disagreements()]
            self.world.deploy(self.new)
            problems += [*self._wounds(), *self._disagreements(), *self._not_on_new()]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            problems.append(f"{type(error).__name__}: {error}")
        return {"at_boot": at_boot, "after": after, "problem": "; ".join(problems)}

    def _boot(self, first_seq: int) -> int:
        """Start the services, and return a descriptor of the disk."""
        self.world.seqs = itertools.count(first_seq)
        self.world.services.runs = self.world.current()
        return os.open(self._mount, os.O_RDONLY | os.O_DIRECTORY)

    # -- what has to hold ----------------------------------------------------------------------------------------

    def _wounds(self) -> Iterator[str]:
        """Yield how what `current` points to differs from a whole release."""
        current = self.world.current()
        package = next((each for each in (self.old, self.new) if each.id == current), None)
        if package is None or not (self.world.app / "current").is_dir():
            yield f"current points to {current}"
            return
        yield from (f"{path} of {current} is {kind}" for path, kind in self._differences(package))

    def _differences(self, package: Package) -> list[tuple[str, str]]:
        manifest = read_manifest(package.manifest, package.release.manifest)
        root = os.open(self.world.app / "releases" / package.id, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return [(found.path, found.kind) for found in differences(manifest, root)]
        finally:
            os.close(root)

    def _unreadable_journal(self) -> Iterator[str]:
        journal = AppFolder(self.world.app).journal
        if journal.read() is None:
            yield f"the journal is unreadable: {journal.path.read_bytes()!r}"

    def _disagreements(self) -> Iterator[str]:
        """Yield what an agent that is idle must not leave."""
        intent = AppFolder(self.world.app).journal.read()
        if intent is None or not intent.is_done:
            yield f"the journal is not done: {intent}"
        if self.world.services.runs != self.world.current():
            yield f"{self.world.services.runs} runs while current is {self.world.current()}"
        if (self.world.app / "draining").exists():
            yield "the host is still drained"

    def _not_on_new(self) -> Iterator[str]:
        if self.world.current() != self.new.id:
            yield f"deployed again, the host is on {self.world.current()}: {self.world.last()}"

    # -- the disk ------------------------------------------------------------------------------------------------

    def _plug(self, image: Path) -> None:
        run("mount", "-t", "ext4", "-o", MOUNT_OPTIONS, str(image), str(self._mount))

    def _unplug(self) -> None:
        run("umount", str(self._mount))


def take_out(step: str) -> None:
    """Take one step out of what makes the agent's changes durable."""
    fsync = os.fsync

    def fsync_folders_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fsync(descriptor)

    if step == "syncfs":
        durable.sync_tree = lambda path: None
    elif step == "fsync":
        os.fsync = fsync_folders_only  # type: ignore[assignment]


def in_child(act: Callable[[], object]) -> int:
    """Do `act` in a process of its own, whose threads and open files end with it; return its exit code."""
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)
        code = 1
        try:
            act()
            code = 0
        except BaseException as error:  # noqa: BLE001 - a child must never return into its parent's code
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(*command: str) -> None:
    """Run a command that has to succeed."""
    subprocess.run(command, check=True, timeout=LIMIT)


def main(arguments: list[str]) -> None:
    """Cut the power before every operation and print what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--without", choices=["", "syncfs", "fsync"], default="")
    parser.add_argument("--stop-at-first", action="store_true")
    options = parser.parse_args(arguments)
    begin_logging()  # to standard error: what is printed here is the result
    machine = Machine(options.work)
    cuts: list[Cut] = []
    for n in range(1, MOST_CUTS):
        cut = machine.cut(n, options.without)
        if cut is None:
            break
        cuts.append(cut)
        if cut.problem and options.stop_at_first:
            break
    print(json.dumps([asdict(cut) for cut in cuts]))


if __name__ == "__main__":
    main(sys.argv[1:])
