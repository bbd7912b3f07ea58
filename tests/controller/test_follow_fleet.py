"""Who leaves and who comes into which deployment, when a fleet has changed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.controller.test_admit import state_of

from clarion_controller.discover.discovered import Discovered
from clarion_controller.follow_fleet import destination, follow_fleet
from clarion_controller.matching import Member, match
from clarion_controller.state.apply import apply
from clarion_controller.state.events import AbsentGone, HostAdded, HostMoved, HostRemoved
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_controller.state.roster import Host
from clarion_controller.streams import Walk
from clarion_protocol.documents import Head, Plan, Report, Targets
from clarion_protocol.words import DeploymentStatus, HostStatus, Joiners, Verb

NOW = 1000.0
DONE = HostState(name="", status=HostStatus.COMMITTED, told=Verb.LEASE)
BUSY = HostState(name="", status=HostStatus.PULLING, told=Verb.STAGE)
SUCCEEDED, RUNNING, FAILED = DeploymentStatus.SUCCEEDED, DeploymentStatus.RUNNING, DeploymentStatus.FAILED
STREAM = "production/shop"


def host(number: int, *, accepted: int = 0) -> Host:
    """Return an enrolled host, web-`number`, that has accepted deployments up to one."""
    id_ = f"{number:032x}"
    report = Report(cluster="c" * 32, host=id_, seq=1, at=1, heads={STREAM: Head(accepted)}) if accepted else None
    return Host(id_, f"web-{number}", "production", (), "", "", joined_at=0.0, last_report=report)


def walk(
    seq: int, status: DeploymentStatus, *parts: HostState, joiners: Joiners = Joiners.NEW, **fields: object
) -> Walk:
    """Return a deployment of everybody in which web-0, web-1 and so on have these parts."""
    state = state_of(Plan(joiners=joiners), list(parts))
    document = replace(state.deployment, seq=seq, stream=STREAM, targets=Targets(all=True))
    return Walk(replace(state, deployment=document, status=status, **fields), b"")


def happens(walks: list[Walk], members: list[Member]) -> list[str]:
    """Return what happens in which deployment, one short line each."""
    lines = []
    for changed, events in follow_fleet([walks], members, NOW):
        for event in events:
            seq = changed.state.deployment.seq
            if isinstance(event, HostAdded):
                lines.append(f"{seq}: {event.name} comes{f' for {event.fills}' if event.fills else ''}")
            elif isinstance(event, HostRemoved):
                lines.append(f"{seq}: {int(event.host, 16)} goes")
            elif isinstance(event, HostMoved):
                lines.append(f"{seq}: {int(event.host, 16)} {event.status.value}")
            elif isinstance(event, AbsentGone):
                lines.append(f"{seq}: without {' '.join(event.names)}")
    return lines


def enrolled(*numbers: int) -> list[Member]:
    """Return members that have an agent and belong to the fleet."""
    return [Member(each.name, each) for each in map(host, numbers)]


OLD, WAIT = Joiners.OLD, Joiners.WAIT


@pytest.mark.parametrize(
    ("walks", "expected"),
    [
        pytest.param([walk(1, SUCCEEDED, DONE)], 1, id="after one that ended well: into it"),
        pytest.param([walk(1, DeploymentStatus.DEGRADED, DONE)], 1, id="with stragglers, too"),
        pytest.param([walk(1, RUNNING, BUSY)], 1, id="new: into the one under way"),
        pytest.param([walk(1, DeploymentStatus.PAUSED, BUSY)], 1, id="new: also while it is paused"),
        pytest.param([walk(2, RUNNING, BUSY, halt="x"), walk(1, SUCCEEDED, DONE)], 1, id="new: not once it is halted"),
        pytest.param([walk(2, DeploymentStatus.ROLLING_BACK, BUSY), walk(1, SUCCEEDED, DONE)], 1, id="nor going back"),
        pytest.param([walk(2, FAILED, BUSY), walk(1, SUCCEEDED, DONE)], 1, id="after a bad one: the good one before"),
        pytest.param([walk(2, RUNNING, BUSY, joiners=OLD), walk(1, SUCCEEDED, DONE)], 1, id="old: the last good one"),
        pytest.param([walk(1, RUNNING, BUSY, joiners=OLD)], None, id="old: waits where nothing good was before"),
        pytest.param(
            [walk(2, RUNNING, BUSY, joiners=OLD), walk(1, FAILED, BUSY)], None, id="old: what failed is no old"
        ),
        pytest.param([walk(2, SUCCEEDED, DONE, joiners=OLD), walk(1, SUCCEEDED, DONE, DONE)], 2, id="old: then on"),
        pytest.param([walk(2, FAILED, DONE, joiners=OLD), walk(1, SUCCEEDED, DONE, DONE)], None, id="old: or stays"),
        pytest.param([walk(2, RUNNING, BUSY, joiners=WAIT), walk(1, SUCCEEDED, DONE)], None, id="wait: nothing yet"),
        pytest.param([walk(2, RUNNING, BUSY, halt="x", joiners=WAIT), walk(1, SUCCEEDED)], None, id="wait: nor halted"),
        pytest.param([walk(2, SUCCEEDED, DONE, joiners=WAIT), walk(1, SUCCEEDED, DONE)], 2, id="wait: then it"),
        pytest.param(
            [walk(2, FAILED, DONE, joiners=WAIT), walk(1, SUCCEEDED, DONE)], 1, id="wait: or what is in force"
        ),
        pytest.param([walk(2, SUCCEEDED, DONE, DONE), walk(1, SUCCEEDED, DONE)], None, id="already there"),
        pytest.param([walk(2, FAILED, DONE, DONE), walk(1, SUCCEEDED, DONE)], None, id="has a part in what failed"),
        pytest.param([], None, id="nothing was ever deployed"),
    ],
)
def test_where_a_host_that_comes_belongs(walks: list[Walk], expected: int | None) -> None:
    """By the newest deployment that ended well, and by `joiners` of the one under way."""
    found = destination(walks, host(1))
    assert (found.state.deployment.seq if found else None) == expected


def test_what_is_for_some_is_not_for_who_comes() -> None:
    """A deployment of named hosts takes nobody on; the one for everybody before it does."""
    some = walk(2, RUNNING, BUSY)
    document = replace(some.state.deployment, targets=Targets(hosts=[f"{0:032x}"]))
    some.state = replace(some.state, deployment=document)
    everybody = walk(1, SUCCEEDED, DONE)
    assert destination([some, everybody], host(1)) is everybody


def test_nobody_is_given_an_older_order_than_it_has_accepted() -> None:
    """It heard the broadcast before any source listed it: it would refuse the one before, so it waits for this one."""
    walks = [walk(2, RUNNING, BUSY, joiners=OLD), walk(1, SUCCEEDED, DONE)]
    assert destination(walks, host(1, accepted=2)) is None
    walks[0].state = replace(walks[0].state, status=SUCCEEDED)
    assert destination(walks, host(1, accepted=2)) is walks[0]


def test_who_is_gone_leaves_every_deployment() -> None:
    """The one under way and the ones before it, in the middle of a change or not."""
    walks = [walk(2, RUNNING, BUSY, BUSY), walk(1, SUCCEEDED, DONE, DONE)]
    assert happens(walks, enrolled(0)) == ["2: 1 goes", "1: 1 goes"]


def test_an_agent_that_no_source_lists_is_gone_too() -> None:
    """It is enrolled and runs, but its server is not in the fleet."""
    listed = [Discovered(name="web-0", source="static")]
    assert happens([walk(1, RUNNING, BUSY, BUSY)], match(listed, [host(0), host(1)])) == ["1: 1 goes"]


def test_who_comes_back_goes_on_where_it_was() -> None:
    """In every deployment that it had a part in; what it said in between counts."""
    one = walk(1, RUNNING, BUSY, BUSY)
    away = apply(one.state, HostRemoved(at=NOW, host=f"{1:032x}"))
    away = apply(away, HostMoved(at=NOW, host=f"{1:032x}", status=HostStatus.STAGED))
    assert away.total == 1
    assert happens([Walk(away, b"")], enrolled(0, 1)) == ["1: web-1 comes"]
    back = apply(away, HostAdded(at=NOW, host=f"{1:032x}", name="web-1"))
    assert (back.hosts[f"{1:032x}"].status, back.gone) == (HostStatus.STAGED, {})


def test_who_is_taken_on_by_a_newer_deployment_is_let_go_by_the_older() -> None:
    """Else the older one would wait for it for ever."""
    walks = [walk(2, SUCCEEDED, DONE, joiners=OLD), walk(1, SUCCEEDED, DONE, BUSY)]
    assert happens(walks, enrolled(0, 1)) == ["2: web-1 comes", "1: 1 skipped"]


def test_who_joins_takes_the_place_of_the_server_that_was_counted() -> None:
    """By what the server was called before it had an agent: its own name, or that with its number."""
    one = walk(1, RUNNING, BUSY, absent=("app", "app-i-0bbbbbbb"))
    servers = [
        Discovered(name="web-0", source="static"),
        Discovered(name="app", source="aws", instance="aws:i-0aaaaaaa"),
        Discovered(name="app", source="aws", instance="aws:i-0bbbbbbb"),
    ]
    joined = replace_instance(host(1), "aws:i-0bbbbbbb")
    assert happens([one], match(servers, [host(0), joined])) == ["1: web-1 comes for app-i-0bbbbbbb"]
    first = replace_instance(host(1), "aws:i-0aaaaaaa")
    assert happens([one], match(servers, [host(0), first])) == ["1: web-1 comes for app"]


def replace_instance(joined: Host, instance: str) -> Host:
    """Return the host as one that said which server of a cloud it is."""
    return Host(**{**vars(joined), "instance": instance})


def test_a_server_without_agent_that_is_gone_is_counted_no_more() -> None:
    """One that is still listed is; also if its agent has joined and it waits for its turn."""
    one = walk(1, RUNNING, BUSY, absent=("web-1", "web-2"), joiners=WAIT)
    servers = [Discovered(name=name, source="static") for name in ("web-0", "web-1")]
    assert happens([one], match(servers, [host(0), host(1)])) == ["1: without web-2"]


parts = st.sampled_from([DONE, BUSY, HostState(name=""), replace(BUSY, status=HostStatus.STAGED)])
numbers = st.lists(st.integers(0, 6), unique=True)


@given(
    st.lists(
        st.tuples(st.sampled_from(list(DeploymentStatus)), st.lists(parts, max_size=5), st.sampled_from(list(Joiners))),
        max_size=3,
    ),
    numbers,
    numbers,
)
def test_who_has_followed_is_at_rest(
    past: list[tuple[DeploymentStatus, list[HostState], Joiners]], now: list[int], then: list[int]
) -> None:
    """Followed once, nothing more happens until something changes; and nobody is in a deployment who is gone."""
    walks = [walk(9 - n, status, *hosts, joiners=joiners) for n, (status, hosts, joiners) in enumerate(past)]
    for who in (now, then):
        for changed, events in follow_fleet([walks], enrolled(*who), NOW):
            changed.state = apply(changed.state, *events)
        assert follow_fleet([walks], enrolled(*who), NOW) == []
        ids = {f"{number:032x}" for number in who}
        assert all(set(each.state.hosts) <= ids for each in walks)


def test_five_thousand_hosts_are_followed_in_linear_time() -> None:
    """All of them come, and all but one go again, each in one step that does not get slower with their number."""
    fleet = [Member(each.name, each) for each in map(host, range(5000))]
    walks = [walk(2, RUNNING), walk(1, SUCCEEDED)]
    began = time.process_time()
    for members in (fleet, fleet[:1]):
        for changed, events in follow_fleet([walks], members, NOW):
            changed.state = apply(changed.state, *events)
        assert len(walks[0].state.hosts) == len(members)
    assert time.process_time() - began < 5  # quadratic, it takes minutes


def test_a_failure_counts_although_the_host_was_replaced() -> None:
    """An autoscaler that takes bad servers away must not take away what they told."""
    failed = replace(BUSY, status=HostStatus.FAILED)
    state: RolloutState = walk(1, RUNNING, failed, BUSY).state
    away = apply(state, HostRemoved(at=NOW, host=f"{0:032x}"))
    assert [part.name for part in away.failed] == [state.hosts[f"{0:032x}"].name]
