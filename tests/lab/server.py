"""One real server: systemd as its first process, a disk of its own, a cable to the lab's network."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from . import cgroups
from .island import RUN, Island, children
from .network import Network

BOOT_LIMIT = 60.0
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class Server:
    """A server that can be booted, used, cut off the network, and powered off hard, again and again.

    Its disk is an overlay: `layers` below, topmost first, never written; `disk` above, kept from boot to boot.
    """

    def __init__(self, lab: str, name: str, island: Island, network: Network) -> None:
        self.name = name
        self.address = network.attach(name)
        self.disk = Path(RUN) / name / "disk"
        self._lab = lab
        self._island = island
        self._network = network
        self._power: subprocess.Popen[bytes] | None = None
        self._leader = 0

    # -- power ---------------------------------------------------------------------------------------------------

    def install_disk(self, layers: Sequence[Path], disk: Path | None = None) -> None:
        """Mount the server's disk; `disk` is where its writes go, memory of the lab unless given."""
        self.disk = disk or self.disk
        place = Path(RUN) / self.name
        work = self.disk.with_name(f"{self.disk.name}.work")
        self._island.run("mkdir", "-p", str(self.disk), str(work), str(place / "root"))
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.disk},workdir={work}"
        self._island.run("mount", "-t", "overlay", "overlay", "-o", options, str(place / "root"))
        self.bake("/etc/hostname", f"{self.name}\n")

    def bake(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file onto the disk of the server while it is switched off, with the folders above it."""
        file = self.on_disk(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode)
        file.write_text(text, encoding="utf-8")

    def on_disk(self, path: str) -> Path:
        """Return where a path of the server's disk is found from outside, whether it is on or off."""
        return self._island.path(f"{RUN}/{self.name}/root{path}")

    def boot(self) -> None:
        """Power on and wait until systemd has started everything.

        Raises:
            TimeoutError: it has not within a minute; the message carries the console.
        """
        self.start()
        self.wait_until_up()

    def start(self) -> None:
        """Power on, without waiting."""
        groups = cgroups.create(self._lab, self.name)
        join = "; ".join(f"echo $$ > {group}/cgroup.procs" for group in groups)
        nspawn = f"exec systemd-nspawn {shlex.join(self._nspawn_options())} >>{self._console} 2>&1"
        boot = shlex.join(self._island.command("sh", "-c", nspawn))
        self._power = subprocess.Popen(["sh", "-ec", f"{join}; exec {boot}"], stdin=subprocess.DEVNULL)

    def wait_until_up(self) -> None:
        """Wait until systemd has started everything that it was told to, or has given up on some of it."""
        deadline = time.monotonic() + BOOT_LIMIT
        while time.monotonic() < deadline:
            self._leader = self._find_leader()
            if self._leader and self.state() in {"running", "degraded"}:
                return
            time.sleep(0.05)
        raise TimeoutError(f"{self.name} did not boot; its console:\n{self.console()}")

    def kill(self) -> None:
        """Pull the power plug: every process of the server ends at once; its disk stays."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """Switch off in order, as systemd does it."""
        self._end(signal.SIGRTMIN + 4)

    def state(self) -> str:
        """Return what `systemctl is-system-running` says: running, degraded, starting, ..."""
        return self.run("systemctl", "is-system-running", check=False).stdout.strip()

    # -- use -----------------------------------------------------------------------------------------------------

    def run(
        self, *argv: str, check: bool = True, timeout: float = 30, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root on the server.

        Raises:
            RuntimeError: it failed, and `check` was not set to False.
        """
        done = subprocess.run(
            self.command(*argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=ENVIRONMENT,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` on the server, for a test that starts it itself."""
        return ["nsenter", f"--target={self._leader}", "--all", *argv]

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file on the server, with the folders above it."""
        self.run("mkdir", "-p", os.path.dirname(path))  # noqa: PTH120 - a path of the server, not of this machine
        self.run("sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "sh", path, mode, stdin=text)

    def read(self, path: str) -> str:
        """Return the text of a file on the server."""
        return self.run("cat", path).stdout

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or folder of this machine into the folder `target` of the server."""
        self.run("mkdir", "-p", target)
        packed = subprocess.run(["tar", "-C", source.parent, "-c", source.name], capture_output=True, check=True)
        unpack = self.command("tar", "-C", target, "-x", "--no-same-owner")
        subprocess.run(unpack, input=packed.stdout, check=True, timeout=120, env=ENVIRONMENT)

    def journal(self, unit: str = "") -> str:
        """Return what the journal holds, of one unit if it is named."""
        only = [f"--unit={unit}"] if unit else []
        return self.run("journalctl", "--no-pager", "--output=short-precise", *only, check=False).stdout

    def last_words(self) -> str:
        """Return the end of what Clarion and the shop have logged, for a person who looks for a reason."""
        if not self.is_on:
            return "switched off"
        units = [f"--unit={unit}" for unit in ("clarion-*", "shop")]
        return self.run("journalctl", "--no-pager", "--output=short-precise", "--lines=60", *units, check=False).stdout

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit, as `systemctl show` has it."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).stdout.strip()

    def console(self) -> str:
        """Return what the server printed on its console, over all boots."""
        return self._island.run("sh", "-c", f"cat {self._console} 2>/dev/null || true")

    def cut(self) -> None:
        """Pull the network cable."""
        self._network.cut(self.name)

    def heal(self) -> None:
        """Plug the network cable in again."""
        self._network.heal(self.name)

    # -- how -----------------------------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether the server has power."""
        return self._power is not None and self._power.poll() is None

    @property
    def _console(self) -> str:
        return f"{RUN}/{self.name}/console"

    def wait_until_off(self) -> None:
        """Wait until every process of the server is gone."""
        if self._power is not None:
            self._power.wait(timeout=BOOT_LIMIT)
        self._leader = 0

    def _end(self, how: int) -> None:
        leader = self._leader or self._find_leader()
        # never signal process 0: that is our own process group
        if leader and self.is_on:
            os.kill(leader, how)
            self.wait_until_off()

    def _nspawn_options(self) -> list[str]:
        return [
            "--quiet",
            "--boot",
            f"--directory={RUN}/{self.name}/root",
            f"--machine={self.name}",
            f"--hostname={self.name}",
            f"--network-namespace-path=/run/netns/{self.name}",
            # nothing of this machine's: no machined, no scope unit, no resolver, no time zone, no journal
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
        ]

    def _find_leader(self) -> int:
        """Return the server's first process: the grandchild of what we started that is 1 in its own namespace."""
        if self._power is None:
            return 0
        grandchildren = (leader for child in children(self._power.pid) for leader in children(child))
        return next((pid for pid in grandchildren if _is_first_process(pid)), 0)


def _is_first_process(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return ids[-1] == "1"
