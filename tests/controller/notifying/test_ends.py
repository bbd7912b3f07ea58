"""Whatever happens: what is wrong is open once on each channel that was told, and when all is well nothing is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.controller.notifying.stories import NAMES, deployment
from tests.controller.notifying.test_derive import CHECKS, happenings, in_time

from clarion_controller.fleet_toml.fleet import Fleet, parse_fleet
from clarion_controller.notice import Notice
from clarion_controller.notifying.context import Context
from clarion_controller.notifying.destinations import NOTIFY
from clarion_controller.notifying.outbox import DAY, Changes, Outbox
from clarion_controller.notifying.read_on import Reader
from clarion_controller.notifying.resume import resume
from clarion_controller.notifying.tail import PORTION, Entry
from clarion_controller.state.events import (
    AgentBack,
    AnyEvent,
    BuildFinished,
    DeploymentAccepted,
    NightlyFinished,
    StatusChanged,
)
from clarion_protocol.documents import Deployment
from clarion_protocol.words import DeploymentStatus

CHANNELS = """
[[notify]]
name = "chat"
slack = { url = "env:SLACK" }
[[notify]]
name = "pager"
pagerduty = { routing_key = "env:KEY" }
min_severity = "warning"
[[notify]]
name = "night-watch"
pagerduty = { routing_key = "env:KEY" }
min_severity = "error"
environments = ["production"]
[[notify]]
name = "builders"
pagerduty = { routing_key = "env:KEY" }
kinds = ["build_broken", "nightly_broken"]
"""
PLACES = """
[environment.production]
[environment.staging]
[repository.shop]
url = "https://github.com/acme/shop"
"""
FLEET = parse_fleet(PLACES + CHANNELS)
NOTHING_LEFT = msgspec.structs.replace(FLEET, environment={}, repository={})


class Record:
    """The log, in memory."""

    def __init__(self) -> None:
        self.entries = list[Entry]()

    def add(self, event: AnyEvent, document: Deployment | None) -> None:
        """Record that something happened."""
        context = Context(id=document.id, deployment=document, names=NAMES) if document else Context()
        self.entries.append(Entry(len(self.entries) + 1, event, context))

    def end(self) -> int:
        """Return the number of the newest event."""
        return len(self.entries)

    def after(self, cursor: int) -> list[Entry]:
        """Return the events after a number."""
        return self.entries[cursor : cursor + PORTION]


class Pagers:
    """What each channel was told, and what is open there, as a pager counts."""

    def __init__(self) -> None:
        self.open: dict[str, set[str]] = {channel.name: set() for channel in FLEET.notify}
        self.told = Counter[tuple[str, str]]()

    def hear(self, outbox: Outbox) -> None:
        """Take everything out that waits."""
        for name in self.open:
            while pending := outbox.first(f"{NOTIFY}{name}"):
                self._take(name, msgspec.json.decode(pending.body, type=Notice))
                outbox.sent(pending, "", 0.0)

    def _take(self, name: str, notice: Notice) -> None:
        self.told[name, notice.id] += 1
        if notice.resolves:
            self.open[name].discard(notice.incident)
        elif notice.opens:
            self.open[name].add(notice.incident)
            places = Counter(_place(incident) for incident in self.open[name] if incident.startswith("deployment-"))
            assert max(places.values(), default=0) <= 1, "two incidents of one app in one environment"


def _place(incident: str) -> str:
    return incident.rpartition("-")[0]


class World:
    """A log, who reads it, and who is told; `crashes` begins the reader anew from what was kept."""

    def __init__(self, home: Path) -> None:
        (home / "state").mkdir()
        self.home, self.record, self.pagers, self.now = home, Record(), Pagers(), 0.0
        self._was_here = False
        self._outbox: Outbox | None = None
        self._read(FLEET, is_crash=True)

    def live(self, story: Iterable[Any], crashes: Sequence[bool], fleet: Fleet = FLEET) -> None:
        """Let things happen, each read at once, with a crash before it where `crashes` says so."""
        for (now, event, document), is_crash in zip(story, [*crashes, *[False] * 1000], strict=False):
            self.now = now
            self.record.add(event, document)
            self._read(fleet, is_crash=is_crash)
        self.read(fleet, is_crash=False)

    def read(self, fleet: Fleet = FLEET, *, is_crash: bool = True) -> None:
        """Read to the end, with a new reader after a crash, and have it told."""
        self.pagers.hear(self._read(fleet, is_crash=is_crash))

    def _read(self, fleet: Fleet, *, is_crash: bool) -> Outbox:
        if is_crash or self._outbox is None:
            self.close()
            self._outbox = Outbox(self.home)
            place = resume(self.record, self._outbox, fleet, was_here=self._was_here)  # type: ignore[arg-type]
            self._reader = Reader(self.record, self._outbox, place)  # type: ignore[arg-type]
            self._was_here = True
        self._reader.read_on(fleet, self.now)
        return self._outbox

    def close(self) -> None:
        """Let go of the outbox."""
        if self._outbox:
            self._outbox.close()
        self._outbox = None


@contextmanager
def a_world() -> Iterator[World]:
    """Yield a world whose disk is fast: it is written hundreds of times."""
    with TemporaryDirectory(dir="/dev/shm") as home:
        world = World(Path(home))
        try:
            yield world
        finally:
            world.close()


def all_well(at: float) -> Iterator[tuple[float, AnyEvent, Deployment | None]]:
    """Yield a good deployment everywhere, all agents back, all builds and nights green."""
    for environment in ("production", "staging"):
        document = deployment("1" * 32, "2.0.0", environment=environment, stream=f"{environment}/shop")
        yield at, DeploymentAccepted(at=at, stream="", digest="", hosts=NAMES), document
        yield at + 1, StatusChanged(at=at + 1, status=DeploymentStatus.SUCCEEDED, reason=""), document
    for host in NAMES:
        yield at + 2, AgentBack(at=at + 2, host=host, name=host, environment="production", since=at), None
    for ref in ("refs/heads/main", "refs/tags/v1"):
        what = {"build": "b", "repository": "shop", "app": "shop", "commit": "c"}
        yield at + 3, BuildFinished(at=at + 3, ref=ref, status="succeeded", **what), None
    yield at + 4, NightlyFinished(at=at + 4, night="n", working=CHECKS), None


BROKEN = BuildFinished(
    at=0.0, build="b", repository="shop", app="shop", ref="refs/heads/main", commit="c", status="failed"
)
crashes = st.lists(st.booleans(), min_size=40, max_size=40)
bounded = settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@bounded
@given(happenings, crashes)
def test_when_all_is_well_nothing_is_open_anywhere(drawn: Sequence[Any], crashes: Sequence[bool]) -> None:
    """Whatever happened before, and however often the process died; and nobody was told twice of the same."""
    with a_world() as world:
        world.live(in_time(drawn), crashes)
        world.live(all_well(world.now + 100), [])
        world.now += 1000
        world.read()
        assert world.pagers.open == {channel.name: set() for channel in FLEET.notify}
        assert set(world.pagers.told.values()) <= {1}


@bounded
@given(happenings, crashes)
def test_what_is_taken_out_of_fleet_toml_is_not_left_open(drawn: Sequence[Any], crashes: Sequence[bool]) -> None:
    """Environments and repositories; what a night found ends when no night says a word of it for a week."""
    with a_world() as world:
        world.live(in_time(drawn), crashes)
        world.read(NOTHING_LEFT)
        for later in (1.0, 15 * DAY):
            world.live([(world.now + later, NightlyFinished(at=world.now + later, night="n"), None)], [], NOTHING_LEFT)
        assert world.pagers.open == {channel.name: set() for channel in FLEET.notify}
        world.live(in_time(drawn), [], NOTHING_LEFT)
        opened = {incident for known in world.pagers.open.values() for incident in known}
        assert all(incident.startswith("nightly-") for incident in opened)


@bounded
@example([(0.0, (BROKEN, None))], [False] * 40, 1)
@given(happenings, crashes, st.integers(0, 40))
def test_what_is_open_is_closed_though_the_outbox_was_lost(
    drawn: Sequence[Any], crashes: Sequence[bool], lost_at: int
) -> None:
    """It is found again from the log what is wrong, and who waits to hear of the end."""
    with a_world() as world:
        story = in_time(drawn)
        world.live(story[:lost_at], crashes)
        world.close()
        for path in world.home.glob("state/notices.db*"):
            path.unlink()
        world.read()
        world.live(story[lost_at:], crashes)
        world.live(all_well(world.now + 100), [])
        world.now += 1000
        world.read()
        assert world.pagers.open == {channel.name: set() for channel in FLEET.notify}


def test_what_the_version_before_left_open_is_closed() -> None:
    """Its rollback by hand opened what nothing ended; its memory, without the fields of this one, is read."""
    with a_world() as world:
        world.live(in_time([(1.0, (BROKEN, None))]), [])
        with closing(Outbox(world.home)) as outbox:
            standing = outbox.standing()
            assert standing
            known = msgspec.json.decode(standing.known)
            del known["builds"]["shop refs/heads/main"]["last"]
            before = replace(standing, known=msgspec.json.encode(known))
            outbox.advance(Changes(before, knowing={"deployment-production-shop-7": [f"{NOTIFY}pager"]}))
        world.pagers.open["pager"].add("deployment-production-shop-7")
        world.read()
        assert world.pagers.open["pager"] == {"build-shop-1"}
        world.live(all_well(world.now + 100), [])
        assert world.pagers.open["pager"] == set()


def test_an_end_is_told_however_late_and_its_beginning_is_not() -> None:
    """Four days nobody was told anything: a pager still closes what it opened, and nobody hears history."""
    with a_world() as world:
        world.live(in_time([(1.0, (BROKEN, None))]), [])
        told = world.pagers.told.total()
        for at, status in ((world.now + 1, "succeeded"), (world.now + 2, "failed")):
            world.record.add(msgspec.structs.replace(BROKEN, at=at, status=status), None)
        world.now += 4 * DAY
        world.read()
        assert world.pagers.open == {channel.name: set() for channel in FLEET.notify}
        assert world.pagers.told.total() == 2 * told
