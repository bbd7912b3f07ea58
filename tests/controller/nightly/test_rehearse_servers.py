"""Fresh servers: whatever ends their making early, nobody waits on, and all that was made is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.servers import Making, Server, make, take_away
from clarion_controller.provisioners.provisioner import Machine, ServerOrder
from clarion_protocol.errors import CloudUnavailable


class Shelf:
    """Makes servers that are only names; the one in `strange` ends in a way that nobody has foreseen."""

    def __init__(self, strange: str = "") -> None:
        self.strange, self.made, self.removed = strange, list[str](), list[str]()
        self._first = threading.Event()

    def create(self, order: ServerOrder) -> Machine:
        """Note a name, or fail once another was made."""
        if order.name == self.strange:
            assert self._first.wait(10)
            raise ZeroDivisionError
        self.made.append(order.name)
        self._first.set()
        return Machine(order.name, f"shelf:{order.name}")

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Nobody meets here."""

    def console(self, machine: Machine) -> str:
        """Fail to say something."""
        raise CloudUnavailable("the cloud is away")

    def parts(self, machine: Machine) -> Mapping[str, float]:
        """Return how long it took."""
        return {"boot": 1.0}

    def remove(self, machine: Machine) -> None:
        """Note a name, and fail."""
        self.removed.append(machine.name)
        raise CloudUnavailable("the cloud is away")


def making(seconds: float, *, has_joined: bool) -> Making:
    """Return how servers are made whose agents are there, or never come."""
    return Making("run", Path(), lambda _: "token", lambda _: has_joined, time.monotonic() + seconds)


def test_what_nobody_has_foreseen_ends_the_wait_for_the_others() -> None:
    """The error comes out at once, not when the agent of another server is given up; what was made is known."""
    shelf = Shelf(strange="db")
    servers = [Server(name, Role(), shelf, ()) for name in ("web", "db")]
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        make(servers, making(60, has_joined=False))
    assert time.monotonic() - began < 10
    assert [server.machine is not None for server in servers] == [True, False]


class SlowShelf(Shelf):
    """Takes a minute for each server, unless it is given up."""

    def __init__(self) -> None:
        super().__init__()
        self._given_up = threading.Event()

    def create(self, order: ServerOrder) -> Machine:
        """Make what is called `strange` fail at once, and the others very slowly."""
        if order.name == "strange":
            raise ZeroDivisionError
        self._given_up.wait(60)
        raise CloudUnavailable("given up")

    def give_up(self) -> None:
        """Wait no longer."""
        self._given_up.set()


def test_what_is_being_made_when_a_night_ends_early_is_given_up() -> None:
    """Whoever stops a night does not wait until apt is done with servers that nobody will look at."""
    shelf = SlowShelf()
    servers = [Server(name, Role(), shelf, ()) for name in ("web", "strange")]
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        make(servers, making(60, has_joined=True))
    assert time.monotonic() - began < 10
    assert "given up" in servers[0].failure


def test_a_console_that_cannot_be_read_hides_no_failure() -> None:
    """The failure stays the first sentence; why there is no console is in the log."""
    server = Server("web", Role(), Shelf(), ())
    make([server], making(0, has_joined=False))
    assert server.failure.startswith("its agent did not join within")
    assert server.log == "its console cannot be read: the cloud is away"
    server.fail("something later")
    assert server.failure.startswith("its agent did not join within")


def test_every_server_is_taken_away_even_if_one_cannot_be() -> None:
    """What cannot be is said, and left to the next sweep; the parts of a provisioner that tells them are kept."""
    shelf, lines = Shelf(), list[str]()
    servers = [Server(name, Role(), shelf, ()) for name in ("web", "db")]
    make(servers, making(5, has_joined=True))
    assert all(server.parts.keys() == {"boot", "joined"} for server in servers)
    take_away(servers, lines.append)
    assert shelf.removed == ["web", "db"]
    assert lines == [f"{name} cannot be taken away: the cloud is away" for name in ("web", "db")]


def test_a_file_that_a_role_names_and_that_is_not_there_makes_no_server(tmp_path: Path) -> None:
    """It is the server's failure, with the file's name."""
    shelf = Shelf()
    server = Server("web", Role(setup="setup.sh"), shelf, ())
    make([server], Making("run", tmp_path, lambda _: "token", lambda _: True, time.monotonic() + 5))
    assert f"{tmp_path}/setup.sh" in server.failure
    assert shelf.made == []
