"""The fresh servers of a rehearsal: made from nothing, waited for, and taken away whatever happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.boot_files import read_first_boot
from clarion_controller.provisioners.provisioner import Machine, Provisioner, ServerOrder
from clarion_protocol.errors import ClarionError, ControllerUnreachable

AT_ONCE = 4
LOOK_EVERY = 0.25
MAX_LOG = 16 * 1024


@runtime_checkable
class Timed(Protocol):
    """A provisioner that knows how long it took for what."""

    def parts(self, machine: Machine) -> Mapping[str, float]:
        """Return how many seconds each part of making a server took."""


@runtime_checkable
class Hasty(Protocol):
    """A provisioner that need not bring to an end what it has begun."""

    def give_up(self) -> None:
        """End what is making servers now; each `create` that is under way then fails."""


@dataclass
class Server:
    """One fresh server: of which role, with which apps; then what became of it. `parts` are seconds.

    `failure` is the sentence of the first thing that went wrong, `hint` what to do about it if somebody knows, and
    `log` what the server or its console said then.
    """

    role_name: str
    role: Role
    provisioner: Provisioner
    apps: tuple[str, ...]
    machine: Machine | None = None
    parts: dict[str, float] = field(default_factory=dict)
    failure: str = ""
    hint: str = ""
    log: str = ""

    @property
    def name(self) -> str:
        """What its agent is called; each role has one server."""
        return self.role_name

    @property
    def address(self) -> str:
        """Where other servers of this rehearsal find it."""
        return (self.machine.address if self.machine else "") or self.name

    @property
    def is_well(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return not self.failure

    def fail(self, failure: str, log: str = "", *, hint: str | None = None) -> None:
        """Note what went wrong, unless something did before, with what the server's console says."""
        if self.is_well:
            self.failure, self.hint = failure, hint or ""
            self.log = "\n".join(filter(None, [log.strip(), self._console().strip()]))[-MAX_LOG:]

    def _console(self) -> str:
        try:
            return self.provisioner.console(self.machine) if self.machine else ""
        except ClarionError as error:
            return f"its console cannot be read: {error.message}"


@dataclass(frozen=True)
class Making:
    """How servers are made: for which run, with the files of which home; `token` gives each its own to join with.

    `has_joined` says whether a server's agent is connected; `until` (monotonic) nobody waits longer for it.
    """

    run: str
    home: Path
    token: Callable[[Server], str]
    has_joined: Callable[[Server], bool]
    until: float


def make(servers: Sequence[Server], making: Making) -> None:
    """Make all servers that can be, a few at the same time, have their agents join, and let them find each other.

    Raises:
        ControllerUnreachable: the rehearsal's controller has gone.
    """
    is_over = threading.Event()
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        all_of_it = [pool.submit(_make_and_wait, server, making, is_over) for server in servers if server.is_well]
        for done in wait(all_of_it, return_when=FIRST_EXCEPTION).done:
            done.result()
    except BaseException:
        _give_up(servers)  # nobody who presses Ctrl-C waits for a quarter of an hour of apt
        raise
    finally:
        is_over.set()
        pool.shutdown(wait=True, cancel_futures=True)  # what was made is known before anything is taken away
    _introduce(servers)


def _give_up(servers: Sequence[Server]) -> None:
    for provisioner in {id(server.provisioner): server.provisioner for server in servers}.values():
        if isinstance(provisioner, Hasty):
            provisioner.give_up()


def _make_and_wait(server: Server, making: Making, is_over: threading.Event) -> None:
    began = time.monotonic()
    try:
        boot = read_first_boot(server.role, making.home, making.token(server))
        order = ServerOrder(server.name, server.role, boot, run=making.run)
        server.machine = server.provisioner.create(order)
        server.parts |= _parts(server) or {"made": time.monotonic() - began}
        _wait_for_agent(server, making, is_over)
    except ControllerUnreachable:  # that of the rehearsal: no server's fault
        raise
    except ClarionError as error:
        server.fail(f"it could not be made: {error.message}", hint=error.hint)


def _wait_for_agent(server: Server, making: Making, is_over: threading.Event) -> None:
    began = time.monotonic()
    while not making.has_joined(server):
        if time.monotonic() > making.until:
            server.fail(f"its agent did not join within {time.monotonic() - began:.0f} s of its boot")
            return
        if is_over.wait(LOOK_EVERY):
            return
    server.parts["joined"] = time.monotonic() - began


def _parts(server: Server) -> Mapping[str, float]:
    timed = server.provisioner
    return timed.parts(server.machine) if isinstance(timed, Timed) and server.machine else {}


def _introduce(servers: Sequence[Server]) -> None:
    by_provisioner: dict[int, list[Server]] = {}
    for server in servers:
        if server.machine:
            by_provisioner.setdefault(id(server.provisioner), []).append(server)
    for group in by_provisioner.values():
        group[0].provisioner.introduce({each.name: each.machine for each in group if each.machine})


def take_away(servers: Sequence[Server], log: Callable[[str], None]) -> None:
    """Take every server away, those that never worked too; what cannot be is said, and left to the next sweep."""
    for server in servers:
        if problem := _take_away(server):
            log(f"{server.name} cannot be taken away: {problem}")


def _take_away(server: Server) -> str:
    try:
        if server.machine:
            server.provisioner.remove(server.machine)
    except ClarionError as error:
        return error.message
    return ""


def wanted_apps(role: Role, in_force: Mapping[str, str]) -> tuple[str, ...]:
    """Return which of the apps that are in force belong on a server of this role."""
    return tuple(app for app in sorted(in_force) if role.has(app))
