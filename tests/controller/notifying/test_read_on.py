"""From the log of a fleet in memory to the outbox: real database, real rollouts, each thing once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from tests.controller.fake_fleet import FakeFleet, Faults, fleet_of

from clarion_controller.fleet_toml.fleet import Fleet, parse_fleet
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice
from clarion_controller.notifying.destinations import FORGE, NOTIFY
from clarion_controller.notifying.outbox import DAY, Changes, Outbox, Standing
from clarion_controller.notifying.read_on import Reader
from clarion_controller.notifying.resume import resume
from clarion_controller.notifying.tail import Tail
from clarion_controller.state.events import BuildFinished
from clarion_controller.state.log import Batch
from clarion_protocol.words import HostStatus

FLEET = parse_fleet(
    """
[cluster]
name = "acme"
[environment.production]
[[notify]]
name = "chat"
slack = { url = "env:SLACK" }
[[notify]]
name = "pager"
pagerduty = { routing_key = "env:KEY" }
min_severity = "error"
[repository.shop]
url = "https://github.com/acme/shop"
token = "env:TOKEN"
"""
)


class World:
    """A fleet, and who reads its log; `reader` may be made anew, as after a crash."""

    def __init__(self, home: Path, *faults: Faults) -> None:
        (home / "state").mkdir()
        self._stack, self._home, self._was_here = ExitStack(), home, False
        self.fleet: FakeFleet = fleet_of(home / "state", 3, *faults)
        self.restart()

    def restart(self) -> None:
        """Begin to read, or begin again."""
        self._stack.close()
        self.outbox = self._stack.enter_context(closing(Outbox(self._home)))
        tail = self._stack.enter_context(closing(Tail(self._home)))
        self.reader = Reader(tail, self.outbox, resume(tail, self.outbox, FLEET, was_here=self._was_here))
        self._was_here = True

    def close(self) -> None:
        """Let go of the files."""
        self._stack.close()

    def read(self, fleet: Fleet = FLEET, *, later: float = 60.0) -> None:
        """Read all there is, `later` seconds after the last that happened."""
        while self.reader.read_on(fleet, self.fleet.clock.now + later):
            pass

    @contextmanager
    def outbox_is_read_only(self) -> Iterator[None]:
        """Let nobody write the outbox within a `with` block."""
        with self.outbox._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        yield
        with self.outbox._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")

    def waits(self, channel: str = "chat") -> list[str]:
        """Take everything out that waits for a channel, and return the kinds of notices."""
        found = []
        while pending := self.outbox.first(f"{NOTIFY}{channel}"):
            found.append(msgspec.json.decode(pending.body, type=Notice).kind.value)
            self.outbox.sent(pending, "", self.fleet.clock.now)
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a world in which the first host is slow, also when it goes back, and the second fails its check."""
    made = World(tmp_path, Faults(step_time=4.0), Faults(fails_in=HostStatus.CHECKING))
    yield made
    made.close()


def build(world: World, status: str, at: float | None = None) -> None:
    """Record the end of a build."""
    what = {"build": "b" * 32, "repository": "shop", "app": "shop", "ref": "refs/heads/main", "commit": "c" * 40}
    event = BuildFinished(at=world.fleet.clock.now if at is None else at, status=status, version="1.1.0", **what)
    world.fleet.log.record(Batch([(None, event)]))


def test_what_a_rollout_records_reaches_the_channels_that_want_it(world: World) -> None:
    """A version that fails its check: halted, and gone back, in the words of a real rollout."""
    world.fleet.run(world.fleet.deploy(max_parallel="1"))
    world.read()
    assert world.waits() == ["deployment_halted", "rolled_back"]
    assert world.waits("pager") == []


def test_nothing_is_told_twice_or_lost_by_a_restart(world: World) -> None:
    """What is known, how far was read and what goes out are one transaction."""
    walk = world.fleet.deploy(max_parallel="1")
    told: list[str] = []
    for _ in range(2000):
        if world.fleet.state_of(walk).status.is_final:
            break
        world.fleet.step()
        world.read(later=0.0)
        world.restart()
        told += world.waits()
    world.read()
    assert [*told, *world.waits()] == ["deployment_halted", "rolled_back"]


def test_the_first_time_it_begins_at_the_end(tmp_path: Path) -> None:
    """Nobody is told history."""
    world = World(tmp_path, Faults(fails_in=HostStatus.TESTING))
    (tmp_path / "state" / "notices.db").unlink()
    world.fleet.run(world.fleet.deploy())
    world.restart()
    world.read()
    assert world.waits() == []
    world.close()


def test_what_is_older_than_three_days_is_not_told_any_more(world: World) -> None:
    """Notices that were switched off for a month, and on again, tell what is new; and know what is broken."""
    build(world, "failed", at=world.fleet.clock.now - 4 * DAY)
    build(world, "failed")
    world.read()
    assert world.waits() == []
    build(world, "succeeded")
    world.read()
    assert world.waits() == ["build_repaired"]


def test_an_older_log_is_read_from_its_end(world: World) -> None:
    """After a backup was restored its numbers begin again below what was read, and would all seem old."""
    world.outbox.advance(Changes(Standing(10_000, b"{}", b"{}")))
    with capture_logs() as logs:
        world.restart()
    assert "notifying.memory_lost" in [line["event"] for line in logs]
    build(world, "failed")
    world.read()
    assert world.waits() == ["build_broken"]


def test_a_memory_that_another_version_wrote_is_begun_anew(world: World) -> None:
    """At the same place of the log: at worst, an end is not told."""
    end = world.reader._place.cursor
    world.outbox.advance(Changes(Standing(end, b'{"agents": 7}', b"no JSON")))
    with capture_logs():
        world.restart()
    build(world, "failed")
    world.read()
    assert world.waits() == ["build_broken"]


def test_what_could_not_be_written_is_read_again(world: World) -> None:
    """A disk that is full for a while costs nobody a notice."""
    build(world, "failed")
    with world.outbox_is_read_only(), pytest.raises(OperationalError):
        world.read()
    world.read()
    assert world.waits() == ["build_broken"]


def test_the_end_is_told_to_who_was_told_of_the_beginning(world: World) -> None:
    """The pager's filter lets no success through, but this one it waits for; also within one portion."""
    world.fleet.run(world.fleet.deploy(max_parallel="1", auto_rollback=False))
    world.fleet.named("web-0002").faults.fails_in = None
    world.read()
    assert world.waits("pager") == ["deployment_failed"]
    world.fleet.run(world.fleet.deploy("1.2.0"))
    world.fleet.run(world.fleet.deploy("1.3.0"))
    world.read()
    assert world.waits("pager") == ["deployment_succeeded"]


def test_nothing_begins_in_what_fleet_toml_does_not_have(world: World) -> None:
    """A build that was under way when its repository was taken out wakes nobody, nor does it when that is back."""
    build(world, "failed")
    world.read(msgspec.structs.replace(FLEET, repository={}))
    assert world.waits() == []
    build(world, "succeeded")
    world.read()
    assert world.waits() == []


def test_forges_are_told_of_builds_if_their_repository_has_a_token(world: World) -> None:
    """In the same transaction as everything."""
    build(world, "succeeded")
    world.read()
    pending = world.outbox.first(f"{FORGE}shop")
    assert pending
    assert msgspec.json.decode(pending.body, type=ForgeReport).commit == "c" * 40
    build(world, "succeeded")
    world.outbox.sent(pending, "", 0.0)
    world.read(Fleet())
    assert world.outbox.first(f"{FORGE}shop") is None
