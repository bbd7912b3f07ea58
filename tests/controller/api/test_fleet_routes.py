"""The routes about servers, asked as the command line asks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.controller.live import Live, live, new_cluster

from clarion_controller.api.answers import Health, InviteRequest
from clarion_protocol.errors import UnknownName
from clarion_protocol.words import new_id


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
