"""Who may join, how often, and who is believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine

from clarion_controller.gateway.enrol import Invitation
from clarion_controller.state.database import open_database
from clarion_controller.state.log import StateLog
from clarion_controller.state.roster import Roster
from clarion_controller.state.rows import HostWord
from clarion_protocol.documents import Facts, Report
from clarion_protocol.errors import JoinRefused
from clarion_protocol.invite import JoinRequest
from clarion_protocol.words import new_id

INVITE = "1" * 32
INVITATION = Invitation("a" * 64, "production", ("web", "eu"), None, 1, 2_000_000_000.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """Open a new database."""
    engine = open_database(tmp_path / "clarion.db")
    yield engine
    engine.dispose()


@pytest.fixture
def roster(database: Engine) -> Roster:
    """Return an empty roster with one invitation."""
    roster = Roster(database, StateLog(database))
    roster.invite(INVITATION, INVITE)
    return roster


def request(name: str = "web-1") -> JoinRequest:
    """Return what a new host asks."""
    return JoinRequest(invite=INVITE, name=name, sign_key=new_id() * 2, transport_key=new_id() * 2)


def test_a_host_that_joins_is_known_by_id_name_and_key(roster: Roster, database: Engine) -> None:
    """With the environment and groups of its invitation; also after a restart."""
    asked = request()
    host = roster.admit(asked, INVITATION)
    for each in (roster, Roster(database, StateLog(database))):
        assert each.host_of(asked.transport_key) == host.id
        assert each.get(host.id) == host
        assert each.named("production", "web-1") == host
    assert (host.environment, host.groups) == ("production", ("web", "eu"))


def test_an_invitation_is_used_once(roster: Roster) -> None:
    """The second host is refused and nothing of it is kept."""
    roster.admit(request(), INVITATION)
    with pytest.raises(JoinRefused, match="used up"):
        roster.admit(request("web-2"), INVITATION)
    assert [host.name for host in roster.of("production")] == ["web-1"]


def test_the_same_request_again_gets_the_same_host(roster: Roster) -> None:
    """When the answer got lost, joining again uses nothing more."""
    asked = request()
    assert roster.admit(asked, INVITATION) == roster.admit(asked, INVITATION)


def test_a_bounded_invitation_is_never_used_more_often(roster: Roster) -> None:
    """Twenty hosts at once with an invitation for seven: seven join."""
    several = replace(INVITATION, uses_left=7)
    roster.invite(several, "2" * 32)
    joined: list[str] = []

    def join(number: int) -> None:
        try:
            asked = msgspec.structs.replace(request(f"web-{number}"), invite="2" * 32)
            joined.append(roster.admit(asked, several).name)
        except JoinRefused:
            return

    threads = [threading.Thread(target=join, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 7
    invitation = roster.invitation("2" * 32)
    assert invitation
    assert invitation.uses_left == 0


@pytest.mark.parametrize("copied", ["name", "sign_key", "transport_key"])
def test_names_and_keys_belong_to_one_host(roster: Roster, copied: str) -> None:
    """A second host under the same name, or with a copied disk, is refused and told why."""
    roster.invite(INVITATION, "3" * 32)
    first = request()
    roster.admit(first, INVITATION)
    second = msgspec.structs.replace(request("web-2"), invite="3" * 32, **{copied: getattr(first, copied)})
    with pytest.raises(JoinRefused, match=r"already enrolled|these keys"):
        roster.admit(second, INVITATION)


def test_a_revoked_host_is_nobody(roster: Roster, database: Engine) -> None:
    """Its key opens nothing, now and after a restart, and never again; its name is free."""
    roster.invite(INVITATION, "4" * 32)
    roster.invite(INVITATION, "5" * 32)
    first = request()
    roster.revoke(roster.admit(first, INVITATION))
    for each in (roster, Roster(database, StateLog(database))):
        assert each.host_of(first.transport_key) is None
        assert each.of("production") == []
    with pytest.raises(JoinRefused, match="revoked"):
        roster.admit(msgspec.structs.replace(first, invite="4" * 32), INVITATION)
    roster.admit(msgspec.structs.replace(request(), invite="5" * 32), INVITATION)


def test_a_name_may_exist_once_in_each_environment(roster: Roster) -> None:
    """staging/web-1 and production/web-1 are two hosts."""
    staging = replace(INVITATION, environment="staging")
    roster.invite(staging, "6" * 32)
    roster.admit(request(), INVITATION)
    roster.admit(msgspec.structs.replace(request(), invite="6" * 32), staging)
    assert roster.environments() == {"production", "staging"}


def test_what_a_heartbeat_said_of_a_host_stays_until_the_next(roster: Roster) -> None:
    """Reports of a deployment carry no facts; load and disk are not forgotten over them."""
    host = roster.admit(request(), INVITATION)
    facts = Facts(agent_version="0.1.0", load=0.5, cpus=2, disk_free=10**10)
    heartbeat = Report(cluster="c" * 32, host=host.id, seq=1, at=1, facts=facts)
    for report in (heartbeat, msgspec.structs.replace(heartbeat, seq=2, facts=None)):
        roster.heard(HostWord(host.id, 1.0, report))
    known = roster.get(host.id)
    assert known
    assert known.last_report
    assert (known.report_seq, known.last_report.facts) == (2, facts)
