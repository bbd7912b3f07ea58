"""One server of a night: systemd as its first process, an overlay as its disk, a cable to the night's network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from clarion_agent.printable import printable, printable_tail
from clarion_controller.provisioners.containers.furnish import Site, hosts_file
from clarion_controller.provisioners.containers.island import RUN, children, run_briefly
from clarion_controller.provisioners.containers.network import Network, address_of
from clarion_controller.provisioners.containers.night_folder import remove_tree
from clarion_controller.provisioners.containers.words import TAIL
from clarion_controller.provisioners.containers.workshop import Workshop
from clarion_protocol.errors import ProvisionFailed

_UP = {"running", "degraded"}
_LOOK_EVERY_S = 0.1
_LOOK_AT_DISK_EVERY_S = 1.0
# What is run on a server sees nothing else: root of it can have any program there tell what it was given.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_WRITE_HOSTS = "cat > /etc/hosts"
# The first process is systemd as soon as the cable is there: what starts at boot finds a network.
_BOOT = """waits=0
until grep -q '^eth0' /proc/net/route || [ "$waits" -gt 3000 ]; do waits=$((waits + 1)); sleep 0.02; done
exec /sbin/init "$@"
"""
_UNMOUNT = '! mountpoint -q "$1" || umount "$1"'
_ENDED_WITHIN_S = 30.0


class Container:
    """A server that is booted once and taken away; `number` is unique tonight.

    What runs on it shares this machine's disk with production's controller: it is switched off before that is full.
    """

    def __init__(self, workshop: Workshop, network: Network, name: str, number: int) -> None:
        self.name = name
        self.address = address_of(number)
        self._workshop = workshop
        self._network = network
        self._number = number
        self._power: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._has_cable = False
        self._cut_off = ""

    @property
    def site(self) -> Site:
        """Where its disk is while it is switched off."""
        return Site(f"{RUN}/{self._number}/root", self._number, self._files)

    def lay(self, rootfs: Path) -> None:
        """Give it a disk: what it writes lies over `rootfs`, in the night's folder, which its users have too."""
        disk, work = self._files / "disk", self._files / "work"
        self._files.mkdir(mode=0o700)
        disk.mkdir(mode=0o755)
        os.chown(disk, self._workshop.users.first, self._workshop.users.first)
        work.mkdir()
        self._workshop.island.run("mkdir", "-p", self.site.root)
        options = f"lowerdir={rootfs},upperdir={disk},workdir={work}"
        self._workshop.island.run("mount", "-t", "overlay", "overlay", "-o", options, self.site.root)

    def boot(self) -> float:
        """Power on, and return after how many seconds systemd had started everything, or had given up on some of it.

        Raises:
            ProvisionFailed: it has not; the message ends with its console.
        """
        began = time.monotonic()
        self._start()
        while time.monotonic() < began + self._workshop.limits.boot:
            if self._state() in _UP:
                return time.monotonic() - began
            if self._power is None or self._power.poll() is not None:
                raise ProvisionFailed(f"{self.name} went off while it booted; it said:\n{self.console()}")
            time.sleep(_LOOK_EVERY_S)
        raise ProvisionFailed(f"{self.name} did not boot in time; it said:\n{self.console()}")

    def introduce(self, addresses: dict[str, str]) -> None:
        """Tell it the names of servers."""
        done = self._run("sh", "-c", _WRITE_HOSTS, stdin=hosts_file(addresses))
        if done.returncode != 0:
            raise ProvisionFailed(f"{self.name} cannot be told of the others: {done.stderr.strip()[-500:]}")

    def console(self) -> str:
        """Return the end of its console, and of what Clarion's units logged."""
        parts = [printable_tail(self._console, TAIL).strip(), self._journal(), self._cut_off]
        return "\n".join(filter(None, parts))

    def take_away(self) -> None:
        """Switch it off hard, and remove its cable, its disk and its control groups."""
        self._switch_off()
        self._workshop.groups.remove(str(self._number))
        if self._workshop.island.is_open:
            self._network.detach(self._number)
            self._workshop.island.run("sh", "-c", _UNMOUNT, "sh", self.site.root)
        remove_tree(self._files)

    @property
    def _files(self) -> Path:
        return self._workshop.folder / str(self._number)

    @property
    def _console(self) -> Path:
        return self._workshop.folder / f"{self._number}-console.log"

    def _journal(self) -> str:
        # Read from outside, for a server that hangs does not answer; but not what only this machine's root may read.
        options = [f"--directory={self.site.root}/var/log/journal", "--unit=clarion-*", "--lines=60", "--no-pager"]
        read = self._workshop.users.as_root("journalctl", "--quiet", "--output=short-precise", *options)
        with contextlib.suppress(ProvisionFailed):
            said = run_briefly(self._workshop.island.command(*read)).stdout
            return printable(said.encode(), TAIL).strip()
        return ""

    def _start(self) -> None:
        inside = self._workshop.island.command("setpriv", "--pdeathsig=KILL", "systemd-nspawn", *self._options())
        command = self._workshop.groups.command(f"{self._number}/boot", inside)
        self._console.touch(0o600)
        with self._console.open("ab") as console:
            self._power = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
            )
        threading.Thread(target=self._watch_disk, args=(self._power,), daemon=True).start()

    def _watch_disk(self, power: subprocess.Popen[bytes]) -> None:
        while power.poll() is None:
            try:
                self._workshop.demand_room()
            except ProvisionFailed as error:
                self._cut_off = f"{self.name} was switched off: {error.message}"
                self._switch_off()
            time.sleep(_LOOK_AT_DISK_EVERY_S)

    def _options(self) -> list[str]:
        return [
            "--quiet",
            f"--directory={self.site.root}",
            f"--machine={self.name}",
            f"--hostname={self.name}",
            self._workshop.users.option,
            # Its users' own as well, so its root has its cable, its ports and its firewall.
            "--private-network",
            # Nothing of this machine's: no settings of a machine of the same name, which may bind production's files;
            # no machined, no scope unit, no resolver, no time zone, no journal.
            "--settings=no",
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            # A terminal without colours, whose words go into a report; nobody types on it.
            "--console=read-only",
            "--setenv=TERM=dumb",
            "--",
            *("/bin/sh", "-c", _BOOT, "sh", "--show-status=yes"),
        ]

    def _state(self) -> str:
        self._leader = self._leader or self._find_leader()
        if not self._leader:
            return "off"
        self._connect()
        return self._run("systemctl", "is-system-running").stdout.strip()

    def _connect(self) -> None:
        ids = _ids(self._leader)
        if ids and not self._has_cable:
            self._network.attach(self._number, ids[-2])
            self._has_cable = True

    def _run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        # The leader cannot be another process by now: as long as nspawn lives, its child's number is taken.
        return run_briefly(["nsenter", f"--target={self._leader}", "--all", *argv], stdin, _ENVIRONMENT)

    def _find_leader(self) -> int:
        """Return the server's first process: the grandchild of what was started that is 1 in its own namespace."""
        if self._power is None:
            return 0
        grandchildren = (leader for child in children(self._power.pid) for leader in children(child))
        return next((pid for pid in grandchildren if _ids(pid)[-1:] == [1]), 0)

    def _switch_off(self) -> None:
        if self._power is None:
            return
        leader = self._leader or self._find_leader()
        # Never signal process 0: that is our own process group.
        if leader and self._power.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
        self._power.kill()
        self._power.wait(_ENDED_WITHIN_S)


def _ids(pid: int) -> list[int]:
    """Return the ids of a process, from this machine's to that in its innermost namespace; none if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid:")
    return [int(each) for each in found.split()[1:]]
