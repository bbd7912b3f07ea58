"""A server in a container that stays: a machine of this machine's systemd, which boots it from then on.

It is built aside, on the same disk, and comes to /var/lib/machines whole, by a rename. It shares this machine's
network, so no firewall, bridge or address is touched; its .nspawn file is the place to give it one of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from clarion_agent.printable import printable
from clarion_controller.durable_files import write_new_file
from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.furnish import Site, furnish
from clarion_controller.provisioners.containers.island import Island
from clarion_controller.provisioners.containers.night_folder import NightFolder, remove_tree
from clarion_controller.provisioners.containers.recipe import recipe_of, this_machines_apt
from clarion_controller.provisioners.containers.requirements import demand_requirements
from clarion_controller.provisioners.containers.rootfs import build
from clarion_controller.provisioners.containers.users import users_of
from clarion_controller.provisioners.containers.words import TAIL
from clarion_controller.provisioners.containers.workshop import Limits, Workshop
from clarion_controller.provisioners.provisioner import ServerOrder
from clarion_protocol.errors import BadConfig, ClarionError, ProvisionFailed

_SETTINGS = """\
# Written by 'clarion provision'. After a change: systemctl restart systemd-nspawn@{name}
[Exec]
Boot=yes
# Its root is nobody on this machine. All in its file system belongs to these users.
PrivateUsers={users}
NotifyReady=yes

[Files]
PrivateUsersOwnership=off

[Network]
# It has this machine's network, where its root may not listen below port 1024, nor change anything. For one of its
# own, where it may: VirtualEthernet=yes, and systemd-networkd on both sides.
Private=no
VirtualEthernet=no
"""
_STARTED_WITHIN_S = 150.0


@dataclass(frozen=True)
class Here:
    """Where this machine's systemd looks for machines."""

    machines: Path = Path("/var/lib/machines")
    settings: Path = Path("/etc/systemd/nspawn")
    running: Path = Path("/run/systemd/system")

    @property
    def aside(self) -> Path:
        """Where new machines are built, on the same disk; hidden, so that systemd does not see them."""
        return self.machines / ".clarion"


class Staying:
    """A machine called `name`."""

    def __init__(self, name: str, here: Here) -> None:
        self.name = name
        self.users = users_of(name)
        self._here = here
        self._root = here.machines / name
        self._settings = here.settings / f"{name}.nspawn"
        self._unit = f"systemd-nspawn@{name}.service"

    def demand_place(self) -> None:
        """Return if this machine's systemd can have a machine of that name.

        Raises:
            BadConfig: no systemd runs here, or there is one already.
        """
        if not self._here.running.is_dir():
            raise BadConfig(
                "systemd does not run here: a server that stays has to be booted by something",
                hint="Run it on a machine that was booted by systemd, or give the role a cloud.",
            )
        for path in (self._root, self._settings):
            if os.path.lexists(path):
                raise BadConfig(
                    f"{path} is there already", hint="Choose another name, or see 'machinectl list-images'."
                )

    def settle(self, built: Path) -> None:
        """Give systemd the file system in `built` as this machine; nothing that is there is overwritten.

        Raises:
            BadConfig: somebody else made a machine of that name meanwhile.
        """
        try:
            self._settings.parent.mkdir(mode=0o755, exist_ok=True)
            write_new_file(self._settings, [self._said_to_systemd().encode()], 0o644)
            with _or_else(self._settings.unlink):
                built.rename(self._root)
        except OSError as error:
            raise BadConfig(f"{self.name} cannot become a machine: {error}", hint="Choose another name.") from error

    def start(self) -> float:
        """Boot it, now and whenever this machine boots; return how many seconds it took.

        Raises:
            ProvisionFailed: it did not come up; the message ends with what it said.
        """
        began = time.monotonic()
        for command in starting(self.name):
            done = _run(*command)
            if done.returncode != 0:
                raise ProvisionFailed(f"{self._unit} did not start: {done.stderr.strip()[-500:]}\n{self.console()}")
        return time.monotonic() - began

    def console(self) -> str:
        """Return the end of what it printed, and of what Clarion's units logged in it."""
        options = ("--no-pager", "--quiet", "--output=short-precise", "--lines=60")
        ours = self.users.as_root("journalctl", *options, "--directory=var/log/journal", "--unit=clarion-*")
        # From there, for its users may enter what is in the folder of machines, and not the folder itself.
        said = [_run("journalctl", *options, f"--unit={self._unit}").stdout, _run(*ours, folder=self._root).stdout]
        return "\n".join(filter(None, [printable(each.encode(), TAIL).strip() for each in said]))

    def take_away(self) -> None:
        """Stop it and remove it with its settings."""
        _run("systemctl", "disable", "--now", self._unit)
        with contextlib.suppress(FileNotFoundError):
            self._settings.unlink()
        remove_tree(self._root)

    def _said_to_systemd(self) -> str:
        return _SETTINGS.format(name=self.name, users=self.users.range)


def starting(name: str) -> list[tuple[str, ...]]:
    """Return the commands that boot a machine, now and whenever this machine boots, as 'machinectl enable' does."""
    return [
        ("systemctl", "enable", "machines.target"),
        ("systemctl", "enable", "--now", f"systemd-nspawn@{name}.service"),
    ]


def make(order: ServerOrder, here: Here, limits: Limits) -> tuple[Staying, Mapping[str, float]]:
    """Make a server that stays, and boot it; return it with seconds by part.

    Raises:
        BadConfig: it cannot be on this machine.
        ProvisionFailed: it could not be built, or did not come up; nothing of it is left.
    """
    demand_requirements()
    staying = Staying(order.name, here)
    staying.demand_place()
    parts = _build(staying, order, here, limits)
    with _or_else(staying.take_away):
        return staying, {**parts, "boot": staying.start()}


def _build(staying: Staying, order: ServerOrder, here: Here, limits: Limits) -> Mapping[str, float]:
    apt = this_machines_apt()
    folder = NightFolder(here.aside, f"{order.name}-{token_hex(4)}")
    groups = Groups(folder.group)
    with contextlib.ExitStack() as afterwards:
        afterwards.callback(folder.remove)
        afterwards.callback(groups.remove)
        island = afterwards.enter_context(contextlib.closing(Island()))
        workshop = Workshop(island, folder.path, groups, limits, staying.users)
        root = folder.path / "root"
        rootfs = build(workshop, recipe_of(order.role.nspawn, apt), apt, root)
        parts = furnish(workshop, Site(str(root), 1, folder.path), order, is_apart=False)
        staying.settle(root)
    return {"rootfs": rootfs, **parts}


@contextlib.contextmanager
def _or_else(undo: Callable[[], None]) -> Iterator[None]:
    """Undo what was done before, if what is done now fails or is interrupted; the first reason is the one given."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ClarionError):
            undo()
        raise


def _run(*argv: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STARTED_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))
