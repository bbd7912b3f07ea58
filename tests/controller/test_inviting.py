"""Join tokens: how long they live, for how many, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores import cluster_in

from clarion_controller.api.answers import InviteRequest
from clarion_controller.cluster import Cluster
from clarion_controller.inviting import MAX_COUNT, MAX_TTL, Inviter
from clarion_controller.state.database import open_database
from clarion_controller.state.log import StateLog
from clarion_controller.state.roster import Roster
from clarion_protocol.errors import OperatorError
from clarion_protocol.invite import hash_secret, read_token

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def inviter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inviter]:
    """Return who makes tokens for a new cluster."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    database = open_database(folder / "clarion.db")
    roster = Roster(database, StateLog(database), clock=lambda: NOW)
    yield Inviter(Cluster.at(cluster_in(folder).home), roster, "a" * 64, clock=lambda: NOW)
    database.dispose()


def test_a_token_for_an_image_outlives_a_year(inviter: Inviter) -> None:
    """And a scaling group that comes and goes all that time; what is kept of it opens nothing."""
    answer = inviter.invite(InviteRequest(environment="production", count=MAX_COUNT, ttl=MAX_TTL))
    token = read_token(answer.token)
    assert (answer.id, answer.expires) == (token.id, NOW + 400 * 86_400)
    kept = inviter.roster.open_invitations("production")[answer.id]
    assert kept.uses_left >= 1000 * 400
    assert kept.secret_hash == hash_secret(token.secret)
    assert token.secret not in repr(kept)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"ttl": MAX_TTL + 1}, "400 days"),
        ({"ttl": float("inf")}, "400 days"),
        ({"ttl": float("nan")}, "400 days"),
        ({"count": MAX_COUNT + 1}, "hosts, not"),
    ],
)
def test_a_token_for_ever_or_for_everybody_is_refused(inviter: Inviter, wanted: dict[str, float], said: str) -> None:
    """Whoever steals it would have it as long."""
    with pytest.raises(OperatorError, match=said):
        inviter.invite(InviteRequest(**{"environment": "production", **wanted}))  # type: ignore[arg-type]
