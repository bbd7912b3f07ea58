"""Kills a publish before each of its changes to the disk; run as a program: HOME PACKAGE MANIFEST OUT.

For the nth change a copy of HOME is made in OUT/n, a child publishes there and is killed
right before it. Ends when a child comes through, and prints how many changes there were.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from clarion_controller.publish import publish

MUTATING = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.chmod", "os.chown", "shutil.rmtree"}
MOST = 500


def die_before(change: int, home: Path) -> None:
    """Kill this process right before it changes something below `home` for the nth time."""
    left = [change]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        is_opened_for_writing = event == "open" and bool(int(str(arguments[2] or 0)) & (os.O_WRONLY | os.O_RDWR))
        if is_opened_for_writing or event in MUTATING:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(watch)


def survives(change: int, home: Path, package: Path, manifest: Path) -> bool:
    """Publish in a child that is killed at that change; return whether it came through."""
    child = os.fork()
    if child == 0:
        die_before(change, home)
        publish(home, package, manifest)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main(home: Path, package: Path, manifest: Path, out: Path) -> None:
    """Kill at every change in turn."""
    for change in range(MOST):
        copy = Path(shutil.copytree(home, out / str(change)))
        if survives(change, copy, package, manifest):
            print(change)
            return
    raise SystemExit("it never came through")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
