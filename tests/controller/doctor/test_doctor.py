"""What the doctor finds, in a home of its own with one thing broken at a time."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from pathlib import Path

import pytest
from tests.controller.live import new_cluster
from tests.stores import Behaviour, http, puppet, serving

from clarion_controller.api.answers import Finding, Health, HostAnswer, SourceAnswer
from clarion_controller.cluster import Cluster
from clarion_controller.doctor import examine as examination
from clarion_controller.doctor.builder import examine_builder
from clarion_controller.doctor.examine import Patient, examine
from clarion_controller.doctor.fleet import examine_fleet
from clarion_controller.doctor.home import examine_home
from clarion_controller.doctor.ports import PORTS, examine_hooks, examine_ports
from clarion_controller.doctor.sources import examine_sources
from clarion_controller.doctor.store import examine_store
from clarion_controller.fleet_toml.fleet import S3, Controller, Fleet, Store
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.fleet_toml.table import Secret
from clarion_controller.stores.folder import FolderStore
from clarion_protocol.documents import Facts
from clarion_protocol.errors import CloudRefused


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Return a cluster of which nothing is broken."""
    return Cluster.at(new_cluster(tmp_path).home)


def worst(findings: list[Finding]) -> Finding:
    """Return the first finding that is as bad as any."""
    order = [Health.FAILED, Health.WARNING, Health.OK]
    return min(findings, key=lambda finding: order.index(finding.health))


def test_a_new_home_is_well_but_for_the_root_key(cluster: Cluster) -> None:
    """Keys, metadata and disk are named as well; the root key that nobody took away yet is a warning."""
    findings = list(examine_home(cluster))
    assert {finding.subject for finding in findings if finding.health is Health.OK} >= {"keys", "metadata"}
    assert [each.sentence for each in findings if "root key" in each.sentence]
    assert not [each for each in findings if each.health is Health.FAILED]


def test_a_key_that_others_can_read_is_named(cluster: Cluster) -> None:
    """With the command that shuts it."""
    (cluster.home / "keys" / "signal.key").chmod(0o644)
    found = worst(list(examine_home(cluster)))
    assert (found.subject, found.health) == ("keys", Health.FAILED)
    assert "signal.key" in found.sentence
    assert "chmod" in found.hint


def test_a_key_that_is_not_there_is_named(cluster: Cluster) -> None:
    """The controller cannot sign a beacon without it."""
    (cluster.home / "keys" / "beacon.key").unlink()
    assert "beacon.key" in worst(list(examine_home(cluster))).sentence


def test_ports_on_which_nobody_listens_are_named(cluster: Cluster) -> None:
    """One that answers is not among them."""
    at = cluster.at_start
    with socket.create_server(("127.0.0.1", at.join_port)):
        findings = list(examine_ports(at))
    assert {finding.health for finding in findings} == {Health.FAILED}
    assert len(findings) == len(PORTS) - 1
    assert not [each for each in findings if "join_port" in each.sentence]


def test_a_port_for_announcements_that_is_closed_is_named() -> None:
    """If anything is announced there; it is opened when the controller starts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        at = Controller(hook_port=listening.getsockname()[1], hook_bind="0.0.0.0")
        announced = Fleet(repository={"shop": Repository(url="/", secret=Secret("file:hook"))})
        assert list(examine_hooks(announced, at)) == []
    (found,) = examine_hooks(announced, at)
    assert found.health is Health.WARNING
    assert "restart clarion-controller" in found.hint
    assert list(examine_hooks(Fleet(repository={"shop": Repository(url="/")}), at)) == []


def test_an_environment_without_a_policy_is_named(cluster: Cluster) -> None:
    """Nothing can be deployed there, and the controller would not start again."""
    with (cluster.home / "fleet.toml").open("a") as fleet:
        fleet.write("\n[environment.elsewhere]\n")
    found = worst(list(examine_home(cluster)))
    assert (found.subject, found.health) == ("policy", Health.FAILED)
    assert "clarion init --environment elsewhere" in found.hint


def test_a_name_that_leads_nowhere_is_named() -> None:
    """Hosts would be told it when they join."""
    (found,) = examine_ports(Controller(address="nowhere.invalid"))
    assert found.health is Health.FAILED
    assert "nowhere.invalid" in found.sentence


def test_a_folder_takes_shows_and_removes_an_object(cluster: Cluster) -> None:
    """And nothing of it is left."""
    (found,) = examine_store(Store(), cluster.home)
    assert found.health is Health.OK
    assert not [path for path in (cluster.home / "store").rglob("*doctor-*") if path.is_file()]


def test_a_store_that_does_not_answer_says_at_which_step(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor goes no further, and raises nothing."""

    class Broken:
        def put_if_absent(self, *_: object) -> bool:
            raise CloudRefused("no leave to s3:PutObject", hint="Grant s3:PutObject.")

        def delete(self, *_: object) -> None:
            raise CloudRefused("nor to delete")

    monkeypatch.setattr("clarion_controller.doctor.store.store_of", lambda *_: Broken())
    (found,) = examine_store(Store(s3=S3(bucket="packages")), cluster.home)
    assert found.sentence == "the bucket packages (S3), put: no leave to s3:PutObject"
    assert found.hint == "Grant s3:PutObject."


class WithAddresses(FolderStore):
    """A folder whose objects have addresses, as those of a bucket have."""

    url = ""

    def presign(self, key: str, ttl: float) -> str | None:
        """Return where somebody answers for the object."""
        return f"{self.url}/packages/{key}"


def test_a_signed_address_is_tried_as_a_host_would(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a range and by plain HTTP; that hosts follow to http only where they list it is a warning."""
    store = WithAddresses(cluster.repository.packages)
    monkeypatch.setattr("clarion_controller.doctor.store.store_of", lambda *_: store)
    with serving(cluster.home / "store") as url:
        monkeypatch.setattr(WithAddresses, "url", url)
        findings = list(examine_store(Store(), cluster.home))
    assert [finding.health for finding in findings] == [Health.WARNING, Health.OK]
    assert "package_origins" in findings[0].hint
    assert "signed address" in findings[1].sentence


@pytest.mark.parametrize(
    "behaviour",
    [http("206 X", b"y" * 10_000_000), http("200 OK", b"y" * 100), http("307 X", location="http://127.0.0.1:1/")],
    ids=["more than is due", "the whole", "a redirect"],
)
def test_an_address_that_gives_something_else_has_failed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    """The way round is named, and nothing of the object is left."""
    store = WithAddresses(cluster.repository.packages)
    monkeypatch.setattr("clarion_controller.doctor.store.store_of", lambda *_: store)
    with puppet(behaviour) as stranger:
        monkeypatch.setattr(WithAddresses, "url", stranger.url)
        (found,) = examine_store(Store(), cluster.home)
    assert found.health is Health.FAILED
    assert "proxy" in found.hint
    assert not list(store.list("clarion-doctor/"))


def source(**given: object) -> SourceAnswer:
    """Return a source that lists three hosts."""
    known = {"environment": "production", "source": "aws eu-west-1", "hosts": 3, "answered_at": time.time()}
    return SourceAnswer(**{**known, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "health", "told"),
    [
        (source(), Health.OK, "lists 3 hosts"),
        (source(hosts=1), Health.OK, "lists 1 host"),
        (source(trouble="the credentials have expired", hint="Renew them."), Health.FAILED, "expired"),
        (source(offered=1), Health.FAILED, "lists 1 host where it listed 3 before"),
        (source(hosts=0), Health.WARNING, "lists no host"),
    ],
    ids=["well", "well, though alone", "in trouble", "shrunken", "empty"],
)
def test_each_source_is_told_of(answer: SourceAnswer, health: Health, told: str) -> None:
    """A source in trouble blocks deployments, an empty one may be a slip in a tag."""
    (found,) = examine_sources("production", [answer])
    assert (found.health, f"{told} " in f"{found.sentence} ") == (health, True)


FACTS = Facts(agent_version="0.1.0", load=0.5, cpus=2, disk_free=10**10)
OLD = Facts(agent_version="0.0.9", load=0.5, cpus=2, disk_free=10**10)
REFUSING = Facts(agent_version="0.1.0", load=0.5, cpus=2, disk_free=10**10, trouble="its floors are lost")
BEHIND = "its clock is 5 min behind; run 'timedatectl' there"


def host(name: str, **given: object) -> HostAnswer:
    """Return a host with which nothing is wrong."""
    known = {"is_discovered": True, "is_enrolled": True, "is_connected": True, "facts": FACTS}
    return HostAnswer(name=name, environment="production", **{**known, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ([host("a"), host("b")], "2 hosts, all connected"),
        ([], "no host has joined yet"),
        ([host("a"), host("b"), host("c", clock=BEHIND)], "c: its clock is 5 min behind"),
        ([host("a", clock=BEHIND), host("b", clock=BEHIND), host("c")], "this one is the odd one"),
        ([host("a"), host("b", is_connected=False)], "b not connected"),
        ([host("a", is_enrolled=False, is_connected=False, facts=None)], "a without agent"),
        ([host("a", is_discovered=False)], "whose server no source lists"),
        ([host("a", facts=OLD)], "agents of version 0.0.9"),
        ([host("a", facts=REFUSING)], "a refuses every order: its floors are lost"),
        ([host("a", findings=["two agents claim it"])], "a: two agents claim it"),
    ],
    ids=[
        "all well",
        "nobody",
        "one clock is wrong",
        "our clock is wrong",
        "a silent host",
        "a server without agent",
        "an agent without server",
        "an old agent",
        "an agent that refuses orders",
        "what does not fit",
    ],
)
def test_what_is_odd_about_hosts_is_said(hosts: list[HostAnswer], told: str) -> None:
    """In one sentence, however many it concerns."""
    (finding,) = examine_fleet("production", hosts)
    assert told in finding.sentence


def test_the_round_goes_through_everything_in_order(cluster: Cluster) -> None:
    """One part that fails does not hide the others."""
    (cluster.home / "store" / "metadata" / "timestamp.json").write_text("{}")
    findings = asyncio.run(examine(Patient(cluster, lambda _: [source()], lambda _: [host("a")])))
    subjects = list(dict.fromkeys(finding.subject for finding in findings))
    assert subjects[0] == "home"
    assert subjects[-3:] == ["store", "production hosts", "production fleet"]
    assert "damaged" in findings[0].sentence


def test_a_part_that_hangs_is_given_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told all the same."""

    def slow(*_: object) -> list[Finding]:
        time.sleep(1)
        return []

    monkeypatch.setattr(examination, "LONGEST", 0.3)
    monkeypatch.setattr(examination, "examine_store", slow)
    findings = asyncio.run(examine(Patient(cluster, lambda _: [], lambda _: [host("a")])))
    assert any(each.subject == "store" and "not over after" in each.sentence for each in findings)
    assert findings[-1].subject == "production fleet"


def test_a_store_that_hangs_holds_nobody_elses_threads(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the doctor is asked meanwhile: agents are given metadata by threads of the same process."""

    def slow(*_: object) -> list[Finding]:
        time.sleep(2)
        return []

    async def ask_often() -> None:
        patient = Patient(cluster, lambda _: [], lambda _: [host("a")])
        await asyncio.gather(*(examine(patient) for _ in range(20)))
        await asyncio.wait_for(asyncio.to_thread(int), 0.5)

    monkeypatch.setattr(examination, "LONGEST", 0.1)
    monkeypatch.setattr(examination, "examine_store", slow)
    asyncio.run(ask_often())


def test_a_disk_that_takes_no_file_is_a_finding(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks why nothing works needs the rest of the round as well."""
    monkeypatch.setattr(tempfile, "tempdir", str(cluster.home / "nowhere"))
    findings = asyncio.run(examine(Patient(cluster, lambda _: [], lambda _: [host("a")])))
    assert [each.health for each in findings if each.subject == "store"] == [Health.FAILED]
    assert findings[-1].subject == "production fleet"


@pytest.mark.parametrize(
    ("seen", "health"),
    [(None, Health.WARNING), (800.0, Health.WARNING), (990.0, Health.OK)],
    ids=["never", "once", "now"],
)
def test_a_builder_is_missed_where_there_is_something_to_build(seen: float | None, health: Health) -> None:
    """Never heard of, or not lately; where nothing is built nobody misses one."""
    assert not list(examine_builder(Fleet(), None, 1000.0))
    fleet = Fleet(repository={"shop": Repository(url="/srv/shop.git")})
    assert [finding.health for finding in examine_builder(fleet, seen, 1000.0)] == [health]
