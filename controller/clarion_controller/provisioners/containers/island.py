"""Mount, process and network namespaces of one night, which the kernel clears away by itself.

The first process of the island reads a pipe whose other end only this process holds. However this process ends, the
pipe closes, the first process ends, and with it every process, mount, interface and network namespace of the island.
/run is a private tmpfs there, so nothing that systemd-nspawn or ip keep in /run meets this machine's, or another
night's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clarion_controller.provisioners.containers import inside
from clarion_protocol.errors import ProvisionFailed

RUN = "/run/clarion"

# The resolver's file is often a link into /run, and whoever builds a server has to find Debian's mirrors.
_FIRST_PROCESS = f"""set -e
resolver=$(readlink -f /etc/resolv.conf || true)
nameservers=$(cat /etc/resolv.conf 2>/dev/null || true)
mount -t tmpfs -o mode=755 clarion-island /run
mkdir -p {RUN} /run/netns
case "$resolver" in /run/*) mkdir -p "${{resolver%/*}}"; printf '%s\\n' "$nameservers" > "$resolver";; esac
echo ready
exec cat > /dev/null
"""
_SHORT_S = 30.0


class Island:
    """One set of namespaces; `close` ends everything in it.

    Raises:
        ProvisionFailed: this kernel or container does not let namespaces be made.
    """

    def __init__(self) -> None:
        self._anchor = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "sh", "-c", _FIRST_PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is this process's business, and it closes the island
        )
        said = self._anchor.stdout.readline().strip() if self._anchor.stdout else ""
        if said != "ready":
            self.close()
            raise ProvisionFailed(
                f"no namespaces of its own could be made: {said or 'unshare said nothing'}",
                hint="Run it as root on a real or virtual machine, not inside a restricted container.",
            )
        self._first = children(self._anchor.pid)[0]

    @property
    def is_open(self) -> bool:
        """Whether it is still there."""
        return self._anchor.stdin is not None and not self._anchor.stdin.closed

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` on the island, without a way out."""
        return ["nsenter", f"--target={self._living()}", "--mount", "--pid", "--net", *argv]

    def online_command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` on the island, but in this machine's network.

        It ends, with all that it started, when what this command line starts is killed.
        """
        enter = ["nsenter", f"--target={self._living()}", "--mount", "--pid", "setpriv", "--pdeathsig=KILL"]
        return [*enter, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv]

    def start_inside(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a program in the island's network, with this machine's files; it ends with the island."""
        kinds = [f"/proc/{self._living()}/ns/{kind}" for kind in ("net", "pid")]
        spaces = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in kinds]
        try:
            program = [sys.executable, "-m", inside.__name__, *map(str, spaces), *argv]
            return subprocess.Popen(program, pass_fds=[*popen.pop("pass_fds", ()), *spaces], **popen)
        finally:
            for descriptor in spaces:
                os.close(descriptor)

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a short command on the island and return what it printed.

        Raises:
            ProvisionFailed: it failed; the message ends with its words.
        """
        done = run_briefly(self.command(*argv), stdin)
        if done.returncode != 0:
            raise ProvisionFailed(f"{' '.join(argv[:3])} ... failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def close(self) -> None:
        """End every process of the island and wait until they are gone."""
        if self._anchor.stdin and self._anchor.stdout:
            self._anchor.stdin.close()
            self._anchor.stdout.close()
        self._anchor.wait(timeout=_SHORT_S)

    def _living(self) -> int:
        # A process id is used again some day: never enter what is only numbered like this island.
        if not self.is_open:
            raise ProvisionFailed("the night is over")
        return self._first


def run_briefly(
    argv: Sequence[str], stdin: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run what takes no time, and return how it ended, as a failure if it took time all the same."""
    try:
        return subprocess.run(
            argv,
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SHORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"it did not end within {_SHORT_S:.0f} s")


def children(pid: int) -> list[int]:
    """Return the ids of the processes that `pid` started, empty if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
