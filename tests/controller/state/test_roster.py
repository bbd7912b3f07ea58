"""Who may join, how often, and who is believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, Row, select

from clarion_controller.gateway.enrol import Invitation
from clarion_controller.state.database import open_database
from clarion_controller.state.log import StateLog
from clarion_controller.state.rivals import Rivals
from clarion_controller.state.roster import Roster
from clarion_controller.state.rows import HostWord
from clarion_controller.state.tables import events
from clarion_protocol.documents import Facts, Report
from clarion_protocol.errors import JoinRefused, UnknownName
from clarion_protocol.invite import JoinRequest
from clarion_protocol.words import is_name, new_id

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


def request(name: str = "web-1", instance: str = "") -> JoinRequest:
    """Return what a new host asks."""
    return JoinRequest(invite=INVITE, name=name, instance=instance, sign_key=new_id() * 2, transport_key=new_id() * 2)


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


ONE, TWO = "aws:i-0123456789abcdef0", "aws:i-0fedcba9876543210"
SEVERAL = replace(INVITATION, uses_left=100)


@pytest.fixture
def group(roster: Roster) -> Roster:
    """Return the roster with an invitation for an image, in place of the first one."""
    roster.invite(SEVERAL, "7" * 32)
    return roster


def from_image(name: str = "web-1", instance: str = "") -> JoinRequest:
    """Return what a server of a scaling group asks."""
    return msgspec.structs.replace(request(name, instance), invite="7" * 32)


def test_an_instance_is_kept(group: Roster, database: Engine) -> None:
    """Also over a restart."""
    host = group.admit(from_image(instance=ONE), SEVERAL)
    assert host.instance == ONE
    again = Roster(database, StateLog(database))
    assert again.get(host.id) == host
    with pytest.raises(JoinRefused, match="already enrolled, as web-1"):
        again.admit(from_image("web-2", ONE), SEVERAL)


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_an_instance_belongs_to_one_host(group: Roster, environment: str) -> None:
    """Whoever claims it, too, is refused, in any environment; it is told who has it and what comes next."""
    group.admit(from_image(instance=ONE), SEVERAL)
    uses = group.invitation("7" * 32)
    with pytest.raises(JoinRefused, match=f"{ONE} is already enrolled, as web-1 in production") as caught:
        group.admit(from_image("web-2", ONE), replace(SEVERAL, environment=environment))
    assert "clarion hosts revoke web-1 -e production" in str(caught.value.hint)
    assert group.invitation("7" * 32) == uses
    assert group.named(environment, "web-2") is None


def test_rivals_are_counted_until_their_instance_is_free(database: Engine) -> None:
    """So that a person sees it at the host that has it, not only in a log."""
    roster = Roster(database, StateLog(database), clock=lambda: 1000.0)
    roster.invite(SEVERAL, "7" * 32)
    host = roster.admit(from_image(instance=ONE), SEVERAL)
    assert roster.rivals(ONE) == Rivals()
    for _ in range(2):
        with pytest.raises(JoinRefused):
            roster.admit(from_image("web-2", ONE), SEVERAL)
    assert roster.rivals(ONE) == Rivals(count=2, last=1000.0)
    assert roster.rivals(TWO) == Rivals()
    roster.revoke(host)
    assert roster.rivals(ONE) == Rivals()


def test_a_server_that_is_set_up_anew_joins_once_the_old_one_is_revoked(group: Roster, database: Engine) -> None:
    """Its instance is as free as its name."""
    group.revoke(group.admit(from_image(instance=ONE), SEVERAL))
    host = group.admit(from_image(instance=ONE), SEVERAL)
    assert (host.name, host.instance) == ("web-1", ONE)
    assert Roster(database, StateLog(database)).of("production") == [host]


def test_hosts_without_instance_are_never_rivals(group: Roster) -> None:
    """The servers of one's own rack have no number."""
    group.admit(from_image("web-1"), SEVERAL)
    assert group.admit(from_image("web-2"), SEVERAL).instance == ""


def test_a_host_name_that_is_used_again_gets_the_instances_digits(group: Roster) -> None:
    """Autoscaling gives 10.0.0.7 to another server, and nobody is there to choose a name."""
    group.admit(from_image("ip-10-0-0-7", ONE), SEVERAL)
    asked = from_image("ip-10-0-0-7", TWO)
    host = group.admit(asked, SEVERAL)
    assert host.name == "ip-10-0-0-7-76543210"
    assert group.admit(asked, SEVERAL) == host


@pytest.mark.parametrize("length", [1, 53, 54, 55, 63])
def test_a_name_with_digits_behind_it_is_still_a_name(group: Roster, length: int) -> None:
    """However long the host name was."""
    name = "a" * length
    group.admit(from_image(name, ONE), SEVERAL)
    host = group.admit(from_image(name, TWO), SEVERAL)
    assert is_name(host.name)
    assert host.name.endswith("-76543210")


def test_an_invitation_that_names_a_host_bends_no_name(group: Roster) -> None:
    """Whoever was asked for by name gets that name, or is refused."""
    for_one = replace(SEVERAL, name="web-1")
    group.admit(from_image(instance=ONE), for_one)
    with pytest.raises(JoinRefused, match="a host web-1 is already enrolled"):
        group.admit(from_image(instance=TWO), for_one)


def test_the_same_keys_on_another_server_are_a_copied_disk(group: Roster) -> None:
    """A snapshot of a server in the middle of its join does not become that host."""
    first = from_image(instance=ONE)
    group.admit(first, SEVERAL)
    with pytest.raises(JoinRefused, match="was its disk copied"):
        group.admit(msgspec.structs.replace(first, instance=TWO), SEVERAL)


def test_a_withdrawn_invitation_opens_nothing(group: Roster, database: Engine) -> None:
    """Whoever has joined with it stays; also if the join port read it a moment before."""
    before = group.admit(from_image(instance=ONE), SEVERAL)
    group.withdraw("7" * 32, "production")
    group.withdraw("7" * 32, "production")
    with pytest.raises(JoinRefused, match="withdrawn"):
        group.admit(from_image("web-2", TWO), SEVERAL)
    assert group.of("production") == [before]
    invitation = Roster(database, StateLog(database)).invitation("7" * 32)
    assert invitation
    assert invitation.withdrawn_at
    assert [event.kind for event in _events(database)].count("invite_withdrawn") == 1


@pytest.mark.parametrize(("invite", "environment"), [("8" * 32, "production"), ("7" * 32, "staging")])
def test_only_an_invitation_of_the_environment_can_be_withdrawn(group: Roster, invite: str, environment: str) -> None:
    """A mistyped id says so instead of looking done."""
    with pytest.raises(UnknownName, match=f"no invitation {invite} in {environment}"):
        group.withdraw(invite, environment)


def test_whoever_mistypes_an_id_is_shown_those_that_are_open(database: Engine) -> None:
    """Not those that are used up, withdrawn or expired, nor another environment's."""
    roster = Roster(database, StateLog(database), clock=lambda: 1000.0)
    kinds = {
        "1" * 32: replace(SEVERAL, expires=2000.0),
        "2" * 32: replace(SEVERAL, expires=3000.0),
        "3" * 32: replace(SEVERAL, uses_left=0),
        "4" * 32: replace(SEVERAL, expires=1000.0),
        "5" * 32: replace(SEVERAL, environment="staging"),
        "6" * 32: SEVERAL,
    }
    for id_, invitation in kinds.items():
        roster.invite(invitation, id_)
    roster.withdraw("6" * 32, "production")
    assert list(roster.open_invitations("production")) == ["2" * 32, "1" * 32]
    with pytest.raises(UnknownName) as caught:
        roster.withdraw("7" * 32, "production")
    assert caught.value.hint == f"Open there: {'2' * 32}, {'1' * 32}."


def _events(database: Engine) -> Sequence[Row[Any]]:
    with database.connect() as connection:
        return connection.execute(select(events)).all()
