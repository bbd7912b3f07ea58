"""The fold as a whole, over stories that nobody would think of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from tests.controller.notifying.stories import NAMES, WEB_1, WEB_2, Story, deployment, kinds, rollback

from clarion_controller.cli.verbs import load
from clarion_controller.notice import Kind, Notice
from clarion_controller.notifying.derive import Known
from clarion_controller.notifying.wording import MAX_AFFECTED, MAX_REASON, MAX_TITLE
from clarion_controller.state.events import (
    AgentBack,
    AgentLost,
    AnyEvent,
    BuildFinished,
    DeploymentAccepted,
    Halted,
    HostBack,
    HostLost,
    HostMoved,
    HostRemoved,
    HostRevoked,
    NightlyFinished,
    StatusChanged,
)
from clarion_protocol import strict_json
from clarion_protocol.documents import Deployment, Targets
from clarion_protocol.words import DeploymentStatus, HostStatus

DEPLOYMENTS = [
    deployment("a" * 32),
    deployment("b" * 32, "1.2.0"),
    deployment("c" * 32, targets=Targets(hosts=list(NAMES)[:1])),
    rollback(),
    deployment("f" * 32, environment="staging", stream="staging/shop"),
]
CHECKS = ["rebuild shop", "server production/web", "web reaches the database"]
Happening = tuple[float, AnyEvent, Deployment | None]

hosts = st.sampled_from(list(NAMES)[:4])
environments = st.sampled_from(["production", "staging"])
words = st.text(max_size=20)
checks = st.lists(st.sampled_from(CHECKS), unique=True)


def of_type(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[AnyEvent]:
    """Return events of a kind; when they happen is decided later."""
    return st.builds(kind, at=st.just(0.0), **fields)


of_deployments = st.one_of(
    of_type(DeploymentAccepted, stream=st.just(""), digest=st.just(""), hosts=st.just(NAMES), absent=st.just(["db-1"])),
    of_type(Halted, reason=words),
    of_type(StatusChanged, status=st.sampled_from(DeploymentStatus), reason=words),
    of_type(HostMoved, host=hosts, status=st.sampled_from(HostStatus)),
    of_type(HostLost, host=hosts, reason=words),
    of_type(HostBack, host=hosts),
    of_type(HostRemoved, host=hosts),
)
of_others = st.one_of(
    of_type(AgentLost, host=hosts, name=hosts, environment=environments, since=st.just(0.0)),
    of_type(AgentBack, host=hosts, name=hosts, environment=environments, since=st.just(0.0)),
    of_type(HostRevoked, host=hosts, name=hosts, environment=environments),
    of_type(
        BuildFinished,
        build=st.just("b" * 32),
        repository=st.just("shop"),
        app=st.just("shop"),
        ref=st.sampled_from(["refs/heads/main", "refs/tags/v1"]),
        commit=words,
        status=st.sampled_from(["failed", "succeeded", "superseded", "cancelled"]),
    ),
    of_type(
        NightlyFinished,
        night=st.just("2026-11-22"),
        broken=checks.map(lambda names: dict.fromkeys(names, "")),
        working=checks,
    ),
)
happenings = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.9, 10.0, 29.0, 100.0]),
        st.one_of(
            st.tuples(of_deployments, st.sampled_from(DEPLOYMENTS)),
            st.tuples(of_others, st.none()),
        ),
    ),
    max_size=40,
)


def in_time(drawn: Sequence[Any]) -> list[Happening]:
    """Return what happens, each some time after the one before."""
    story, now = list[Happening](), 1000.0
    for later, (event, document) in drawn:
        now += later
        story.append((now, msgspec.structs.replace(event, at=now), document))
    return story


def told_of(drawn: Sequence[Any]) -> list[Notice]:
    """Return all that is told of a story, read in one go."""
    story = Story()
    for _, event, document in in_time(drawn):
        story.happens(event, of=document)
    story.waits(1e9)
    return story.notices


@given(happenings)
def test_nothing_is_told_twice(drawn: Sequence[Any]) -> None:
    """No two notices have the same id."""
    ids = [notice.id for notice in told_of(drawn)]
    assert len(ids) == len(set(ids))


@given(happenings)
def test_an_incident_ends_at_most_once_and_only_after_it_began(drawn: Sequence[Any]) -> None:
    """And after its end nothing is said of it, which would begin it again."""
    begun, ended = set[str](), set[str]()
    for notice in told_of(drawn):
        if not notice.incident:
            assert not notice.resolves
            continue
        assert notice.incident not in ended
        if notice.resolves:
            assert notice.incident in begun
            ended.add(notice.incident)
        begun.add(notice.incident)


@example([(0.0, (Halted(at=0.0, reason=""), each)) for each in reversed(DEPLOYMENTS[:2])], [0.0] * 40, 1)
@given(happenings, st.lists(st.floats(0, 1), min_size=40, max_size=40), st.integers(1, 5))
def test_it_does_not_matter_in_which_portions_the_log_is_read(
    drawn: Sequence[Any], looks: Sequence[float], portion: int
) -> None:
    """Nor how often the clock is looked at between events, nor whether what is known was written and read again."""
    events, story = in_time(drawn), Story()
    for place, (now, event, document) in enumerate(events):
        story.happens(event, of=document)
        following = events[place + 1][0] if place + 1 < len(events) else now
        if place % portion == 0:
            story.waits(now + looks[place] * (following - now))
            story.known = msgspec.json.decode(strict_json.dumps(story.known), type=Known)
    story.waits(1e9)
    assert story.notices == told_of(drawn)


@example(
    [
        (0.0, (Halted(at=0.0, reason=""), DEPLOYMENTS[0])),
        (0.5, (StatusChanged(at=0.0, status=DeploymentStatus.DEGRADED, reason=""), DEPLOYMENTS[1])),
    ]
)
@given(happenings)
def test_every_notice_is_bounded_and_on_one_line(drawn: Sequence[Any]) -> None:
    """Whatever a host or a forge had put into a reason."""
    for notice in told_of(drawn):
        assert len(notice.title) <= MAX_TITLE
        assert len(notice.reason) <= MAX_REASON
        assert len(notice.affected) <= MAX_AFFECTED + 1
        assert (notice.title + notice.reason).isprintable()
        assert notice.since <= notice.at


def test_a_reason_of_a_megabyte_full_of_line_breaks_is_cut() -> None:
    """What hosts say is not to be trusted; nor is how long they go on."""
    story = Story()
    story.accepts(DEPLOYMENTS[0])
    event = StatusChanged(at=1.0, status=DeploymentStatus.FAILED, reason="a\r\nBcc: all@example.net\x1b[2J" * 50_000)
    (notice,) = story.happens(event, of=DEPLOYMENTS[0])
    assert len(notice.reason) == MAX_REASON
    assert notice.reason.isprintable()


def test_what_is_due_is_told_in_the_order_in_which_it_became_due() -> None:
    """Whatever it is about, also if nobody looked for a while."""
    story = Story()
    story.accepts(DEPLOYMENTS[0])
    story.happens(HostLost(at=1.0, host=WEB_1, reason=""), of=DEPLOYMENTS[0])
    story.ends(DEPLOYMENTS[0], DeploymentStatus.DEGRADED, at=2.0)
    story.happens(AgentLost(at=3.0, host=WEB_2, name="web-2", environment="production", since=0.0))
    story.happens(HostMoved(at=4.0, host=WEB_1, status=HostStatus.COMMITTED), of=DEPLOYMENTS[0])
    assert kinds(story.waits(1e6)) == ["agent_lost", "straggler_caught_up"]


def test_every_kind_but_the_test_has_its_story() -> None:
    """No kind that fleet.toml may name is never told."""
    told = set[Kind]()
    for first in ("failed", "rolled_back", "degraded"):
        story = Story()
        story.accepts(DEPLOYMENTS[0])
        story.happens(Halted(at=1.0, reason=""), HostLost(at=1.0, host=WEB_1, reason=""), of=DEPLOYMENTS[0])
        story.waits(3.0)
        story.ends(DEPLOYMENTS[0], DeploymentStatus(first), at=4.0)
        story.happens(HostMoved(at=5.0, host=WEB_1, status=HostStatus.COMMITTED), of=DEPLOYMENTS[0])
        story.ends(DEPLOYMENTS[0], DeploymentStatus.SUCCEEDED, at=6.0)
        told |= {notice.kind for notice in story.notices}
    story = Story()
    who: dict[str, Any] = {"host": "h", "name": "h", "environment": "production", "since": 0.0}
    what = {"build": "b", "repository": "r", "app": "a", "ref": "r", "commit": "c"}
    story.happens(AgentLost(at=1.0, **who))
    story.happens(AgentBack(at=99.0, **who))
    story.happens(*[BuildFinished(at=100.0, status=status, **what) for status in ("failed", "succeeded")])
    story.happens(NightlyFinished(at=101.0, night="n", broken={"a": ""}))
    story.happens(NightlyFinished(at=102.0, night="n", working=["a"]))
    story.happens(AgentLost(at=103.0, **who))
    story.waits(200.0)
    story.happens(HostRevoked(at=201.0, host="h", name="h", environment="production"))
    assert told | {notice.kind for notice in story.notices} == {*Kind} - {Kind.TEST}


@given(happenings)
def test_every_next_command_exists(drawn: Sequence[Any]) -> None:
    """With its subcommand and its options; who is woken by a notice types what it says."""
    for notice in told_of(drawn):
        program, verb, *rest = notice.next_command.split()
        assert program == "clarion"
        command = typer.main.get_command(load(verb))
        subcommands = getattr(command, "commands", {})
        if subcommands and rest and not rest[0].startswith("-"):
            command, rest = subcommands[rest[0]], rest[1:]
        command.make_context(verb, rest, resilient_parsing=False).close()
