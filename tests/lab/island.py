"""Mount, process and network namespaces of the lab's own, which the kernel clears away by itself.

The first process of the island reads a pipe whose other end only this process holds. However this process ends, the
pipe closes, the first process ends, and with it every process, mount, bridge and network namespace of the island.
/run is a private tmpfs there, so whatever the tools below keep in /run never touches this machine's.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

RUN = "/run/lab"
FIRST_PROCESS = (
    f"mount -t tmpfs -o mode=755 clarion-lab /run && mkdir -p {RUN} /run/netns && echo ready && exec cat >&2"
)


class Island:
    """One set of namespaces; `close` ends everything in it."""

    def __init__(self) -> None:
        self._anchor = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "sh", "-c", FIRST_PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._read_line() != "ready":
            raise RuntimeError(f"the island did not start; exit code {self._anchor.wait(10)}")
        self._first = children(self._anchor.pid)[0]

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` on the island."""
        return ["nsenter", f"--target={self._first}", "--mount", "--pid", "--net", *argv]

    def run(self, *argv: str) -> str:
        """Run a short command on the island and return what it printed.

        Raises:
            RuntimeError: the command failed.
        """
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def path(self, path: str) -> Path:
        """Return where a path of the island is found from outside."""
        return Path(f"/proc/{self._first}/root{path}")

    def close(self) -> None:
        """End every process of the island and wait until they are gone."""
        if self._anchor.stdin and self._anchor.stdout:
            self._anchor.stdin.close()
            self._anchor.stdout.close()
        self._anchor.wait(timeout=30)

    def _read_line(self) -> str:
        return self._anchor.stdout.readline().strip() if self._anchor.stdout else ""


def children(pid: int) -> list[int]:
    """Return the ids of the processes that `pid` started, empty if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
