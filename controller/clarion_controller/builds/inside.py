"""The first program in the sandbox: gives up for good what a build must not have, says so, and builds.

It is the only one of ours in there, and nothing that it says is believed outside, once commands of the app have run.
"""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_controller.build import build
from clarion_controller.builds.output import COMPLAINT, STARTED
from clarion_controller.builds.walls import OUT, SOURCE
from clarion_protocol.errors import ClarionError

OPEN_FILES = 4096
NICENESS = 10
KILLED_FIRST = "1000"


@dataclass(frozen=True)
class Confinement:
    """What is built as which user, with how much: `memory` and `file` in bytes; `user` is None if it is not root."""

    version: str
    memory: int
    processes: int
    file: int
    user: tuple[int, int] | None

    def arguments(self) -> list[str]:
        """Return the command that runs this program with this."""
        return [sys.executable, "-I", "-m", __spec__.name, msgspec.json.encode(self).decode()]


def main() -> None:
    """Confine this process, then build; the exit code says whether there is a package."""
    confinement = msgspec.json.decode(sys.argv[1], type=Confinement)
    _confine(confinement)
    _say(STARTED)
    try:
        build(Path(SOURCE), Path(OUT), confinement.version, said=_say)
    except ClarionError as error:
        # The output of a command that failed has been said already.
        sentence = error.message.partition("\n")[0].rstrip(":")
        hint = f"  {error.hint}\n" if error.hint else ""
        # Where the source lies in here says nothing to whoever reads this.
        _say(f"{COMPLAINT}{sentence}\n{hint}".replace(f"{SOURCE}/", "").encode())
        sys.exit(1)


def _confine(confinement: Confinement) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, confinement.memory),
        (resource.RLIMIT_NPROC, confinement.processes),
        (resource.RLIMIT_FSIZE, confinement.file),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(limit, (value, value))
    os.closerange(3, OPEN_FILES)
    os.nice(NICENESS)
    Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST, encoding="ascii")
    if confinement.user is not None:
        uid, gid = confinement.user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _say(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
