"""The routes about servers, asked as the command line asks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.controller.live import Live, live, new_cluster

from clarion_controller.api.answers import Health, InviteRequest, OneHostAnswer, PartAnswer, PlanRequest
from clarion_protocol.errors import UnknownName
from clarion_protocol.words import HostStatus, new_id


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Yield a controller that serves."""
    folder: Path = tmp_path_factory.mktemp("routes")
    with live(new_cluster(folder).home) as serving:
        yield serving


def test_a_token_can_be_withdrawn_until_it_is_used_up(controller: Live) -> None:
    """It is listed while it can be used, and not after; withdrawing it twice does no harm."""
    asked = InviteRequest(environment="production", groups=["blue"], count=3, ttl=60.0)
    token = controller.client.invite(asked)
    (listed,) = [each for each in controller.client.invitations("production") if each.id == token.id]
    assert (listed.name, listed.groups, listed.uses_left, listed.expires) == (None, ["blue"], 3, token.expires)
    for _ in range(2):
        controller.client.withdraw(token.id, "production")
    assert token.id not in [each.id for each in controller.client.invitations()]


@pytest.mark.parametrize("id_", [new_id(), "../hosts", ""], ids=["unknown", "a path", "nothing"])
def test_what_is_no_token_cannot_be_withdrawn(controller: Live, id_: str) -> None:
    """The error says so, whatever was typed."""
    with pytest.raises(UnknownName):
        controller.client.withdraw(id_, "production")


def test_the_doctor_makes_the_whole_round(controller: Live) -> None:
    """Every part of a controller that serves is well, and a fleet without hosts is told how to get some."""
    findings = {finding.subject: finding for finding in controller.client.doctor()}
    for subject in ("metadata", "disk", "ports", "store", "production fleet"):
        assert findings[subject].health is Health.OK, findings[subject]
    assert "clarion hosts invite" in findings["production fleet"].hint


def test_one_host_is_shown_with_its_part_in_what_is_in_force(tmp_path: Path) -> None:
    """From nobody of that name, over an order that means others only, to where it stands; whoever waits asks often."""
    cluster = new_cluster(tmp_path)
    cluster.publish("1.0.0")
    with live(cluster.home) as controller:
        ask = controller.client.one_host
        assert ask("web-2", "production") == OneHostAnswer()
        controller.enrol("web-1")
        request = PlanRequest(app="shop", environment="production", version="1.0.0", hosts=["web-1"])
        controller.client.order(controller.client.plan(request).deployment.sealed(controller.deployer))
        controller.enrol("web-2")
        first, second = ask("web-1", "production"), ask("web-2", "production")
        assert second.host
        assert (second.host.name, second.host.is_enrolled) == ("web-2", True)
        assert second.parts == [PartAnswer(app="shop", wanted="1.0.0")]
        assert [(each.app, each.part and each.part.status) for each in first.parts] == [("shop", HostStatus.PENDING)]
        with pytest.raises(UnknownName):
            ask("web-1", "nowhere")
        with pytest.raises(UnknownName):
            ask("../fleet", "production")
