"""Deployments as they are listed, by a real controller: counts for all, hosts for none."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.controller.live import Live, live, new_cluster

from clarion_controller.api.answers import DeploymentAnswer, PlanRequest
from clarion_controller.api.listing import Listing
from clarion_controller.history import History
from clarion_controller.state.log import StateLog
from clarion_controller.state.rollout_state import RolloutState
from clarion_controller.streams import Streams
from clarion_protocol.documents import Deployment
from clarion_protocol.words import HostStatus

STREAM = "production/shop"


class Waiting(History):
    """Replays only when it is told that the event loop has gone on, and keeps what it was asked for."""

    def __init__(self, log: StateLog, streams: Streams) -> None:
        super().__init__(log, streams)
        self.go_on, self.asked = threading.Event(), list[str]()

    def replay(self, id_: str) -> RolloutState:
        """Wait, then do so."""
        self.asked.append(id_)
        assert self.go_on.wait(10), "the event loop stood still"
        return super().replay(id_)


def order(controller: Live, environment: str) -> Deployment:
    """Plan, sign and hand over."""
    document = controller.client.plan(PlanRequest(app="shop", environment=environment, version="1.0.0")).deployment
    controller.client.order(document.sealed(controller.deployer))
    return document


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Live]:
    """Serve a cluster that has deployed to two hosts four times; the streams hold the newest two."""
    cluster = new_cluster(tmp_path, "[environment.production]\n[environment.staging]\n")
    cluster.publish("1.0.0")
    with live(cluster.home) as started:
        hosts = [started.enrol("web-1"), started.enrol("web-2")]
        for _ in range(4):
            document = order(started, "production")
            for status in (HostStatus.STAGED, HostStatus.COMMITTED):
                started.turn(*[host.says(time.time(), document, status) for host in hosts])
        yield started


def test_a_list_says_how_many_stand_where(controller: Live) -> None:
    """Of present and past ones, newest first; each host is for who asks for one deployment."""
    listed = controller.client.deployments()
    assert [bool(controller.desk.history.present(each.id)) for each in listed] == [True, True, False, False]
    assert [each.seq for each in listed] == [4, 3, 2, 1]
    for each in listed:
        whole = controller.client.deployment(each.id)
        assert [host.name for host in whole.hosts] == ["web-1", "web-2"]
        assert each == replace(whole, hosts=[])
        assert sum(each.counts.values()) == 2
    assert controller.client.deployments(limit=1) == listed[:1]


def test_the_event_loop_goes_on_while_what_is_past_is_replayed(controller: Live) -> None:
    """Hosts are served meanwhile; and what is past is replayed once."""
    desk = controller.desk
    history = Waiting(desk.log, desk.rollouts.streams)
    listing = Listing(desk.log, history, desk.views)

    async def listed() -> list[DeploymentAnswer]:
        asked = asyncio.ensure_future(listing.newest([STREAM], 20))
        await asyncio.sleep(0.01)
        history.go_on.set()
        return await asked

    first = controller.await_on_loop(listed)
    assert history.asked == [each.id for each in first[2:]]
    assert controller.await_on_loop(listed) == first == controller.client.deployments()
    assert len(history.asked) == 2


def test_only_as_many_as_were_asked_for(controller: Live) -> None:
    """Of all environments together: the newest."""
    controller.enrol("web-1", "staging")
    order(controller, "staging")
    listed = controller.client.deployments(limit=2)
    assert [(each.environment, each.seq) for each in listed] == [("staging", 1), ("production", 4)]
