"""The API over its real Unix socket, asked by the command line's own client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.controller.live import Live, LiveHost, live, new_cluster

from clarion_controller.api.answers import DeploymentAnswer, ErrorAnswer, InviteRequest, PlanRequest
from clarion_protocol.documents import Plan, Running
from clarion_protocol.errors import (
    BadEnvelope,
    BadSignature,
    Blocked,
    ClarionError,
    NothingMatches,
    OperatorError,
    StaleSequence,
    UnknownName,
    UnknownPackage,
)
from clarion_protocol.invite import read_token
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import DeploymentStatus, HostStatus, Intent

ENVIRONMENTS = """
[environment.production]
hosts = [{ static = ["web-1", "web-2", "web-3"] }]
[environment.production.strategy]
max_unreachable = "50%"
[environment.staging]
"""


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Serve a cluster with two published versions."""
    cluster = new_cluster(tmp_path_factory.mktemp("cluster"), ENVIRONMENTS)
    cluster.publish("1.0.0")
    cluster.publish("1.1.0", content=b"better")
    with live(cluster.home) as started:
        yield started


@pytest.fixture(scope="module")
def hosts(controller: Live) -> list[LiveHost]:
    """Enrol web-1 and web-2."""
    return [controller.enrol("web-1"), controller.enrol("web-2")]


def order(controller: Live, version: str, **wanted: object) -> DeploymentAnswer:
    """Plan, sign and hand over."""
    request = PlanRequest(app="shop", environment="production", version=version, **wanted)  # type: ignore[arg-type]
    return controller.client.order(controller.client.plan(request).deployment.sealed(controller.deployer))


def commit(controller: Live, hosts: list[LiveHost], deployment: DeploymentAnswer) -> DeploymentAnswer:
    """Let every host stage and commit."""
    document = controller.desk.history.state(deployment.id).deployment
    runs = Running("shop", document.version, document.release, document.sha256, is_active=True)
    for status in (HostStatus.STAGED, HostStatus.COMMITTED):
        controller.turn(*[host.says(time.time(), document, status, runs) for host in hosts])
    return controller.client.deployment(deployment.id)


def test_it_says_who_it_is(controller: Live) -> None:
    """The cluster's id and name, and its environments."""
    fleet = controller.client.fleet()
    assert (fleet.cluster, fleet.name) == (controller.desk.cluster.id, "acme")
    assert fleet.environments == ["production", "staging"]


def test_hosts_are_those_that_joined_and_those_that_should_have(controller: Live, hosts: list[LiveHost]) -> None:
    """A listed host without agent is shown as such."""
    found = {host.name: host for host in controller.client.hosts("production")}
    assert found["web-1"].id == hosts[0].id
    assert [name for name, host in found.items() if not host.is_enrolled] == ["web-3"]


def test_a_plan_names_hosts_batches_and_who_is_missing(controller: Live, hosts: list[LiveHost]) -> None:
    """Nothing is changed by planning; what is missing is said before anybody signs."""
    plan = controller.client.plan(PlanRequest(app="shop", environment="production", version="1.0.0", actor="ada"))
    assert plan.targets == ["web-1", "web-2", "web-3"]
    assert plan.without_agent == ["web-3"]
    assert plan.supersedes is None
    assert plan.deployment.targets.all
    assert plan.deployment.actor == "ada"
    assert controller.client.deployments() == []


@pytest.mark.parametrize(
    ("wanted", "error", "hint"),
    [
        ({"app": "shob"}, UnknownName, "Did you mean shop?"),
        ({"version": "9.9.9"}, UnknownName, "clarion packages shop"),
        ({"environment": "prodction"}, UnknownName, "Did you mean production?"),
        ({"hosts": ["web-9"]}, UnknownName, "Did you mean"),
        ({"hosts": []}, NothingMatches, "clarion hosts"),
        ({"hosts": ["web-3"]}, NothingMatches, "clarion hosts"),
        ({"version": None}, UnknownName, "clarion packages shop"),
        ({"version": None, "intent": Intent.ROLLBACK}, NothingMatches, "clarion packages shop"),
        ({"plan": Plan(max_parallel="many")}, OperatorError, ""),
        ({"plan": Plan(max_parallel="0%")}, OperatorError, "1 or more"),
        ({"plan": Plan(lease_timeout=1.0)}, OperatorError, ""),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_planned_is_explained(
    controller: Live, hosts: list[LiveHost], wanted: dict[str, object], error: type[ClarionError], hint: str
) -> None:
    """Each refusal is of its kind and names the next command or the near name."""
    asked = {"app": "shop", "environment": "production", "version": "1.0.0", **wanted}
    with pytest.raises(error) as refusal:
        controller.client.plan(PlanRequest(**asked))  # type: ignore[arg-type]
    assert hint in (refusal.value.hint or "")


def test_only_what_a_deployer_signed_is_taken_on(controller: Live, hosts: list[LiveHost]) -> None:
    """A stranger's key, a changed byte, another sequence or other contents: each is refused, nothing is recorded."""
    plan = controller.client.plan(PlanRequest(app="shop", environment="production", version="1.0.0"))
    genuine = plan.deployment.sealed(controller.deployer)
    replace = msgspec.structs.replace
    for envelope, error in [
        (plan.deployment.sealed(SigningKey.generate()), BadSignature),
        (genuine.replace(b'"payload":"ey', b'"payload":"eY', 1), BadEnvelope),
        (b"", BadEnvelope),
        (replace(plan.deployment, seq=plan.deployment.seq + 1).sealed(controller.deployer), StaleSequence),
        (replace(plan.deployment, length=1).sealed(controller.deployer), UnknownPackage),
        (replace(plan.deployment, sha256="0" * 64).sealed(controller.deployer), UnknownPackage),
    ]:
        with pytest.raises(error):
            controller.client.order(envelope)
    assert controller.client.deployments() == []


def test_a_key_that_may_not_deploy_here_is_called_that(controller: Live, hosts: list[LiveHost]) -> None:
    """Whoever took the wrong file learns how to name another."""
    plan = controller.client.plan(PlanRequest(app="shop", environment="production", version="1.0.0"))
    with pytest.raises(BadSignature, match="not that of a deployer of production") as refusal:
        controller.client.order(plan.deployment.sealed(SigningKey.generate()))
    assert "--key" in (refusal.value.hint or "")


def test_a_deployment_from_order_to_end(controller: Live, hosts: list[LiveHost]) -> None:
    """Ordered, followed, committed; listed, logged, shown in the status, and its drift seen."""
    began = order(controller, "1.0.0")
    assert began.status is DeploymentStatus.RUNNING
    ended = commit(controller, hosts, began)
    assert ended.status is DeploymentStatus.DEGRADED
    assert ended.reason == "2 of 3 hosts run 1.0.0; web-3 is behind"
    assert ended.counts == {"committed": 2, "unreachable": 1}
    assert controller.client.deployment(began.id[:8]).id == began.id
    assert {entry.log for entry in controller.client.logs(began.id, "web-1")} == {"it went well"}
    (stream,) = controller.client.status("production", "shop")
    assert (stream.wanted, stream.running) == ("1.0.0", {"1.0.0": 2})


def test_an_order_handed_over_twice_is_one_deployment(controller: Live, hosts: list[LiveHost]) -> None:
    """When the first answer got lost, the same envelope gets the same answer."""
    plan = controller.client.plan(PlanRequest(app="shop", environment="production", version="1.0.0"))
    envelope = plan.deployment.sealed(controller.deployer)
    first = controller.client.order(envelope)
    assert controller.client.order(envelope).id == first.id
    assert (
        controller.client.plan(PlanRequest(app="shop", environment="production", version="1.1.0")).supersedes
        == first.id
    )
    controller.client.steer(first.id, "abort", "ada")


def test_a_plan_that_another_overtook_is_refused(controller: Live, hosts: list[LiveHost]) -> None:
    """Of two plans drawn up at once, the second to be handed over has to be planned again."""
    request = PlanRequest(app="shop", environment="production", version="1.0.0")
    one, two = (controller.client.plan(request).deployment for _ in range(2))
    controller.client.steer(controller.client.order(one.sealed(controller.deployer)).id, "abort", "ada")
    with pytest.raises(StaleSequence, match="another came first"):
        controller.client.order(two.sealed(controller.deployer))


def test_a_change_is_waited_for(controller: Live, hosts: list[LiveHost]) -> None:
    """With a revision, the answer comes with the next change, long before the wait is over."""
    began = order(controller, "1.1.0")
    document = controller.desk.history.state(began.id).deployment
    speak = threading.Timer(0.3, lambda: controller.turn(hosts[0].says(time.time(), document, HostStatus.PULLING)))
    speak.start()
    since = time.monotonic()
    answer = controller.client.deployment(began.id, revision=began.revision, wait=20)
    speak.join()
    assert answer.revision > began.revision
    assert time.monotonic() - since < 10
    unchanged = controller.client.deployment(began.id, revision=answer.revision, wait=0.2)
    assert unchanged.revision == answer.revision
    controller.client.steer(began.id, "abort", "ada")


def test_a_rollback_goes_to_what_was_committed_before(controller: Live, hosts: list[LiveHost]) -> None:
    """Without a version; all at once, and no single host holds up the others."""
    commit(controller, hosts, order(controller, "1.0.0"))
    commit(controller, hosts, order(controller, "1.1.0"))
    request = PlanRequest(app="shop", environment="production", intent=Intent.ROLLBACK)
    plan = controller.client.plan(request).deployment
    assert (plan.version, plan.go_back_to) == ("1.0.0", None)
    assert (plan.plan.type.value, plan.plan.max_unreachable) == ("all_at_once", "100%")


def test_a_failed_version_goes_back_to_the_one_in_force(controller: Live, hosts: list[LiveHost]) -> None:
    """`go_back_to` is the newest release that was good."""
    commit(controller, hosts, order(controller, "1.1.0"))
    plan = controller.client.plan(PlanRequest(app="shop", environment="production", version="1.0.0")).deployment
    assert plan.go_back_to
    assert plan.go_back_to.version == "1.1.0"


def test_the_version_in_force_is_deployed_again_without_a_way_to_an_older_one(
    controller: Live, hosts: list[LiveHost]
) -> None:
    """A straggler that fails must not take the others, which run it already, back to what was before it."""
    commit(controller, hosts, order(controller, "1.0.0"))
    commit(controller, hosts, order(controller, "1.1.0"))
    again = order(controller, "1.1.0")
    document = controller.desk.history.state(again.id).deployment
    assert document.go_back_to is None
    controller.turn(hosts[0].says(time.time(), document, HostStatus.COMMITTED))
    controller.turn(hosts[1].says(time.time(), document, HostStatus.FAILED))
    controller.turn(hosts[0].says(time.time(), document, HostStatus.ROLLED_BACK))
    (stream,) = controller.client.status("production", "shop")
    assert stream.deployment
    assert stream.deployment.status is DeploymentStatus.ROLLED_BACK
    assert stream.wanted == "1.1.0"
    commit(controller, hosts, order(controller, "1.0.0"))


def test_what_runs_otherwise_than_committed_is_drift(controller: Live, hosts: list[LiveHost]) -> None:
    """Status shows what is: a host that committed and runs something else has drifted."""
    done = commit(controller, hosts, order(controller, "1.1.0"))
    document = controller.desk.history.state(done.id).deployment
    old = Running("shop", "1.0.0", 1, "0" * 64, is_active=True)
    controller.turn(hosts[0].says(time.time(), document, HostStatus.COMMITTED, old))
    drifted = {host.name: host.status for host in controller.client.deployment(done.id).hosts}
    assert drifted["web-1"] is HostStatus.DRIFTED
    assert drifted["web-2"] is HostStatus.COMMITTED
    assert [host.drift for host in controller.client.hosts("production") if host.name == "web-1"] == [["shop"]]


def test_who_is_in_the_middle_of_it_is_named_when_it_is_aborted(controller: Live, hosts: list[LiveHost]) -> None:
    """Those hosts still switch, so nobody should read that none has."""
    begun = order(controller, "1.1.0")
    document = controller.desk.history.state(begun.id).deployment
    for host, status in zip(hosts, (HostStatus.DRAINING, HostStatus.STAGED), strict=True):
        controller.turn(host.says(time.time(), document, status))
    aborted = controller.client.steer(begun.id, "abort", "ada")
    assert aborted.reason == "aborted by ada when 0 of 3 hosts had switched; in the middle, and finishing it: web-1"
    commit(controller, hosts, order(controller, "1.0.0"))


def test_what_is_over_cannot_be_aborted(controller: Live, hosts: list[LiveHost]) -> None:
    """Blocked, with the way back."""
    done = commit(controller, hosts, order(controller, "1.0.0"))
    with pytest.raises(Blocked) as refusal:
        controller.client.steer(done.id, "abort", "ada")
    assert "clarion rollback shop -e production" in (refusal.value.hint or "")


def test_a_token_carries_the_fingerprints_and_no_secret_is_kept(controller: Live) -> None:
    """The invitation in the database opens with the token's secret, and does not hold it."""
    answer = controller.client.invite(InviteRequest(environment="staging", name="db-1", ttl=60))
    token = read_token(answer.token)
    assert token.cluster == controller.desk.cluster.id
    invitation = controller.desk.roster.invitation(token.id)
    assert invitation
    assert (invitation.name, invitation.uses_left) == ("db-1", 1)
    assert token.secret not in repr(invitation)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"environment": "nowhere"}, UnknownName),
        ({"name": "Web 1"}, OperatorError),
        ({"count": 0}, OperatorError),
        ({"name": "db-2", "count": 2}, OperatorError),
        ({"ttl": 0}, OperatorError),
        ({"environment": "production", "name": "web-1"}, Blocked),
    ],
)
def test_impossible_invitations_are_refused(
    controller: Live, hosts: list[LiveHost], wanted: dict[str, object], error: type[ClarionError]
) -> None:
    """No token is made for what could not join."""
    with pytest.raises(error):
        controller.client.invite(InviteRequest(**{"environment": "staging", **wanted}))  # type: ignore[arg-type]


def test_a_revoked_host_is_gone_and_its_name_free(controller: Live) -> None:
    """Its keys are believed no more; another may join under the name."""
    controller.enrol("old", "staging")
    assert controller.client.revoke("old", "staging").name == "old"
    assert controller.client.hosts("staging") == []
    controller.enrol("old", "staging")
    controller.client.revoke("old", "staging")
    with pytest.raises(UnknownName):
        controller.client.revoke("old", "staging")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/plan", b"{", 400),
        ("POST", "/v1/plan", b'{"app":"shop"}', 400),
        ("POST", "/v1/invites", b'{"environment":"production","surprise":1}', 400),
        ("GET", "/v1/deployments?limit=0", None, 400),
        ("GET", "/v1/deployments/abc?wait=31", None, 400),
        ("GET", "/v1/deployments/xyz", None, 404),
        ("POST", "/v1/deployments/xyz/abort", None, 404),
        ("POST", "/v1/deployments/xyz/explode", None, 404),
        ("GET", "/v1/nothing", None, 404),
        ("PUT", "/v1/plan", b"{}", 405),
        ("POST", "/v1/deployments", b"x" * (2 << 20), 413),
    ],
)
def test_every_refusal_is_an_error_answer(
    controller: Live, method: str, path: str, body: bytes | None, status: int
) -> None:
    """Whatever is sent, what comes back has a code and a sentence."""
    transport = httpx.HTTPTransport(uds=str(controller.home / "run" / "controller.sock"))
    with httpx.Client(transport=transport, base_url="http://clarion") as client:
        answer = client.request(method, path, content=body)
    assert answer.status_code == status
    assert msgspec.json.decode(answer.content, type=ErrorAnswer).message


def test_fleet_toml_is_read_again_for_each_plan(controller: Live, hosts: list[LiveHost]) -> None:
    """An edit needs no restart; a broken edit is named by file, line and key, and what was stays in force."""
    path = controller.home / "fleet.toml"
    before = path.read_text()
    request = PlanRequest(app="shop", environment="production", version="1.0.0")
    try:
        path.write_text(before.replace('max_unreachable = "50%"', 'max_unreachable = "40%"'))
        assert controller.client.plan(request).deployment.plan.max_unreachable == "40%"
        path.write_text(before.replace("max_unreachable", "max_unreachabel"))
        with pytest.raises(OperatorError, match=r"fleet.toml, line \d+.*unknown key"):
            controller.client.plan(request)
    finally:
        path.write_text(before)


def test_deployments_outlive_the_controller(tmp_path: Path) -> None:
    """After a restart, the same deployment is there at the same revision, and goes on."""
    cluster = new_cluster(tmp_path)
    cluster.publish("1.0.0")
    with live(cluster.home) as first:
        host = first.enrol("web-1")
        began = order(first, "1.0.0")
    with live(cluster.home) as second:
        assert second.client.deployment(began.id).revision >= began.revision
        assert commit(second, [host], began).status is DeploymentStatus.SUCCEEDED


def test_a_host_that_nobody_listed_is_left_alone(tmp_path: Path) -> None:
    """Where fleet.toml lists hosts, another may join; it is shown as unexpected, and nothing is deployed to it."""
    cluster = new_cluster(tmp_path, ENVIRONMENTS)
    cluster.publish("1.0.0")
    with live(cluster.home) as controller:
        one = controller.enrol("web-1")
        began = order(controller, "1.0.0", plan=Plan(max_unreachable="100%"))
        controller.enrol("web-2")
        controller.enrol("stranger")
        ended = commit(controller, [one], began)
        assert [host.name for host in ended.hosts] == ["web-1", "web-2", "web-3"]
        assert {host.name: host.is_discovered for host in controller.client.hosts()}["stranger"] is False
