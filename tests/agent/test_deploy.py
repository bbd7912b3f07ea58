"""THE LIST under the knife: the agent ends before each durable operation, and another one takes over.

Each case runs twice: once to count the operations, then once for each of them, ending the
app's thread right before it, as a kill would, and starting a new agent on what is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agent.rig import World

from clarion_agent import durable
from clarion_protocol.words import HostStatus, Verb


class Knife:
    """Counts the durable operations of workers, and ends the worker before number `at` (from 1)."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.count = 0
        self.operation = ""

    def __call__(self, operation: str, path: Path) -> None:
        """Watch one operation."""
        if not threading.current_thread().name.startswith("app "):
            return
        self.count += 1
        if self.count == self.at:
            self.operation = f"{operation} {path.name}"
            raise SystemExit


@contextmanager
def watching(knife: Knife) -> Iterator[Knife]:
    """Let `knife` see every durable operation."""
    durable.watchers.append(knife)
    try:
        yield knife
    finally:
        durable.watchers.remove(knife)


def update(world: World) -> None:
    """Bring a host that runs 1.0.0 to 2.0.0."""
    world.deploy(world.publish("2.0.0", 2))


def update_to_sick(world: World) -> None:
    """Bring a host that runs 1.0.0 to a release that is never healthy."""
    world.services.sick.add("2.0.0")
    world.deploy(world.publish("2.0.0", 2))


def update_and_roll_back(world: World) -> None:
    """Bring a host to 2.0.0, and order it back."""
    order = world.deploy(world.publish("2.0.0", 2))
    world.send(world.signal(order, Verb.ROLLBACK))
    world.settle()


@pytest.mark.parametrize(
    ("scenario", "ends_on", "says"),
    [
        pytest.param(update, "2-2.0.0", {HostStatus.COMMITTED}, id="a good update"),
        pytest.param(update_to_sick, "1-1.0.0", {HostStatus.ROLLED_BACK}, id="an update that has to be undone"),
        # Killed before it switched, there is nothing to take back: then it is skipped.
        pytest.param(
            update_and_roll_back,
            "1-1.0.0",
            {HostStatus.ROLLED_BACK, HostStatus.SKIPPED},
            id="an update that is ordered back",
        ),
    ],
)
@pytest.mark.timeout(300)
def test_killed_anywhere_the_next_agent_ends_where_it_should(
    fast_path: Path, scenario: Callable[[World], None], ends_on: str, says: set[HostStatus]
) -> None:
    """At every point the link leads to a whole release; the next agent repays, finishes or undoes."""
    points = _count(fast_path / "count", scenario)
    assert points > 20

    for at in range(1, points + 1):
        world = _killed(fast_path / str(at), scenario, at)
        world.restart_agent()
        _give_lease(world)
        world.core.close()

        assert world.last().status in says, at
        assert world.current() == world.services.runs == ends_on, at
        assert _is_clean(world.app), at


@pytest.mark.timeout(300)
def test_killed_anywhere_and_back_when_the_lease_has_run_out_nothing_new_is_activated(fast_path: Path) -> None:
    """What had not switched by then goes back; what had is finished, because that is the shorter way."""
    for at in range(1, _count(fast_path / "count", update) + 1):
        world = _killed(fast_path / str(at), update, at)
        at_kill = world.current()

        world.clock += 61
        world.restart_agent()
        world.core.close()

        assert world.current() == world.services.runs == at_kill, at
        assert _is_clean(world.app), at


def _count(folder: Path, scenario: Callable[[World], None]) -> int:
    world = _with_first_release(folder)
    with watching(Knife()) as knife:
        scenario(world)
    world.core.close()
    return knife.count


def _killed(folder: Path, scenario: Callable[[World], None], at: int) -> World:
    world = _with_first_release(folder)
    with watching(Knife(at)) as knife:
        scenario(world)
    assert knife.operation, f"there is no operation {at}"
    assert world.current() in ("1-1.0.0", "2-2.0.0"), f"before {knife.operation}"
    assert (world.app / "current" / "app.py").read_text().startswith("VERSION"), f"before {knife.operation}"
    return world


def _with_first_release(folder: Path) -> World:
    world = World(folder)
    world.deploy(world.publish("1.0.0", 1))
    return world


def _give_lease(world: World) -> None:
    """Do what a controller does with a host that says it is staged (again)."""
    if world.last().status is HostStatus.STAGED:
        world.send(world.signal(world.orders[-1], Verb.LEASE))
        world.settle()


def _is_clean(app: Path) -> bool:
    names = {path.name for path in app.iterdir()}
    leftovers = [*(app / "staging").iterdir(), *(app / "trash").iterdir(), *app.rglob("*.tmp")]
    return names == {"current", "releases", "staging", "state", "trash"} and not leftovers
