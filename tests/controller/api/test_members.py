"""Planning and looking at a fleet that a cloud lists: over the API, with a cloud that says what a test wants."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.controller.fake_sources import AWAY, AWS, Clouds
from tests.controller.live import Live, live, new_cluster

from clarion_controller.api.answers import HostAnswer, PlanAnswer, PlanRequest
from clarion_controller.discover.discovered import Discovered
from clarion_controller.host_filter import HostFilter
from clarion_protocol.documents import Deployment, Plan, Running
from clarion_protocol.errors import Blocked, JoinRefused, NothingMatches, UnknownName
from clarion_protocol.words import HostStatus, Intent, Joiners

ENVIRONMENT = f"""
[environment.production]
hosts = [{AWS}]
discover_every = "1h"
[environment.production.strategy]
joiners = "old"
"""
EVERYBODY_MAY_BE_LOST = Plan(max_unreachable="100%")


def server(number: int, name: str = "web", **fields: object) -> Discovered:
    """Return a server as EC2 would list it."""
    given: dict[str, object] = {"zone": "eu-west-1a", "tags": {"role": "web"}, **fields}
    return Discovered(name=name, source="aws", instance=f"aws:i-{number:08x}", **given)  # type: ignore[arg-type]


class Sky:
    """A controller, and the cloud that lists its servers."""

    def __init__(self, controller: Live, clouds: Clouds) -> None:
        self.controller, self.clouds = controller, clouds

    def now_lists(self, *servers: Discovered) -> None:
        """Have the cloud list these servers, and the controller know it."""
        self.clouds.says["aws"] = list(servers)
        self.ask()

    def fails(self) -> None:
        """Have the cloud be away, and the controller know it."""
        self.clouds.says["aws"] = AWAY
        self.ask()

    def ask(self) -> None:
        """Ask the cloud now."""
        self.controller.await_on_loop(lambda: self.controller.desk.discovery.refresh("production"))

    def hosts(self) -> dict[str, HostAnswer]:
        """Return what the API shows, by name."""
        return {host.name: host for host in self.controller.client.hosts("production")}

    def plan(self, **wanted: object) -> PlanAnswer:
        """Plan a deployment of 1.0.0."""
        asked = {
            "app": "shop",
            "environment": "production",
            "version": "1.0.0",
            "plan": EVERYBODY_MAY_BE_LOST,
            **wanted,
        }
        return self.controller.client.plan(PlanRequest(**asked))  # type: ignore[arg-type]

    def take(self, answer: PlanAnswer) -> Deployment:
        """Sign a plan and hand it over."""
        client, deployer = self.controller.client, self.controller.deployer
        client.steer(client.order(answer.deployment.sealed(deployer)).id, "abort", "ada")
        return answer.deployment


@contextmanager
def sky_over(folder: Path, says: list[Discovered] | Exception) -> Iterator[Sky]:
    """Serve a cluster with one published version whose cloud says this."""
    cluster = new_cluster(folder, ENVIRONMENT)
    cluster.publish("1.0.0")
    clouds = Clouds({"aws": says})
    with live(cluster.home, clouds.ask) as controller:
        sky = Sky(controller, clouds)
        sky.ask()
        yield sky


@pytest.fixture
def sky(tmp_path: Path) -> Iterator[Sky]:
    """Serve five servers, of which web-1 to web-4 have agents."""
    with sky_over(tmp_path, [*map(server, range(1, 6))]) as started:
        for number in range(1, 5):
            started.controller.enrol(f"web-{number}", instance=f"aws:i-{number:08x}")
        yield started


def test_each_host_is_shown_as_its_cloud_and_its_agent_say(sky: Sky) -> None:
    """Who has no agent and who has no server stand out; so does what does not fit together."""
    sky.controller.enrol("stranger")
    hosts = sky.hosts()
    one = hosts["web-1"]
    assert (one.source, one.instance, one.zone, one.tags) == ("aws", "aws:i-00000001", "eu-west-1a", {"role": "web"})
    assert (one.is_discovered, one.is_enrolled) == (True, True)
    assert (hosts["web"].is_discovered, hosts["web"].is_enrolled, hosts["web"].instance) == (
        True,
        False,
        "aws:i-00000005",
    )
    assert (hosts["stranger"].is_discovered, hosts["stranger"].is_enrolled) == (False, True)
    assert "no source lists its name" in hosts["stranger"].findings[0]


def test_an_instance_that_another_agent_claims_is_pointed_out(sky: Sky) -> None:
    """The second is refused; the first is shown with what happened, for one of them is a copy."""
    with pytest.raises(JoinRefused):
        sky.controller.enrol("web-1-copy", instance="aws:i-00000001")
    assert "was its disk copied?" in sky.hosts()["web-1"].findings[0]


def test_sources_are_shown_with_what_is_wrong_with_them(sky: Sky) -> None:
    """How many hosts each lists counts on while it is away."""
    [source] = sky.controller.client.sources("production")
    assert (source.source, source.hosts, source.trouble) == ("aws eu-west-1", 5, "")
    sky.fails()
    [source] = sky.controller.client.sources()
    assert (source.hosts, source.trouble) == (5, AWAY.message)


def test_a_plan_names_servers_with_and_without_agent_and_what_to_look_at(sky: Sky) -> None:
    """An agent that nobody lists is left out, and said to be."""
    sky.controller.enrol("stranger")
    plan = sky.plan()
    assert plan.deployment.targets.all
    assert plan.targets == ["web", "web-1", "web-2", "web-3", "web-4"]
    assert plan.without_agent == ["web"]
    assert [finding.split(":")[0] for finding in plan.findings] == ["stranger"]
    with pytest.raises(UnknownName, match="stranger has an agent, but no source"):
        sky.plan(hosts=["stranger"])


def test_a_plan_means_whom_the_filter_means(sky: Sky) -> None:
    """By ids; a filter that fits nobody is an error."""
    sky.now_lists(*map(server, range(1, 5)), server(5, zone="eu-west-1b"), server(6, zone="eu-west-1b"))
    sky.controller.enrol("web-5", instance="aws:i-00000005")
    plan = sky.plan(where=HostFilter(zones=["eu-west-1b"]))
    assert plan.targets == ["web", "web-5"]
    assert plan.deployment.targets.hosts == [sky.hosts()["web-5"].id]
    with pytest.raises(NothingMatches, match="no host has tag role x"):
        sky.plan(where=HostFilter(tags={"role": "x"}))


def test_while_a_source_is_away_nothing_new_is_planned_unless_that_is_accepted(sky: Sky) -> None:
    """The sentence says what is wrong; accepted, its last answer counts, and the plan says so."""
    sky.fails()
    with pytest.raises(Blocked, match="cannot be reached") as refusal:
        sky.plan()
    assert "--accept-shrink" in (refusal.value.hint or "")
    plan = sky.plan(accept_shrink=True)
    assert len(plan.targets) == 5
    assert "does not answer" in plan.findings[0]


def test_a_source_that_never_answered_blocks_all_the_same(tmp_path: Path) -> None:
    """Nobody knows whom it would list: that cannot be accepted, and nobody is thrown out because of it."""
    with sky_over(tmp_path, AWAY) as sky:
        sky.controller.enrol("web-1")
        with pytest.raises(Blocked, match="never answered"):
            sky.plan(accept_shrink=True)
        assert sky.hosts()["web-1"].is_discovered
        assert sky.plan(intent=Intent.ROLLBACK).targets == ["web-1"]


def test_a_fleet_that_shrank_is_only_believed_when_somebody_says_so(sky: Sky) -> None:
    """Four of five servers are gone from the answer: blocked, nobody left; accepted, they are gone for good."""
    sky.now_lists(server(1))
    with pytest.raises(Blocked, match="lists 1 host where"):
        sky.plan()
    assert len(sky.hosts()) == 5
    assert sky.plan(accept_shrink=True).targets == ["web-1"]
    assert [name for name, host in sky.hosts().items() if not host.is_discovered] == ["web-2", "web-3", "web-4"]
    assert sky.plan().targets == ["web-1"]


def test_a_way_back_waits_for_no_source(sky: Sky) -> None:
    """It uses what is known, asks nobody, and is not stopped by hosts that came or went."""
    sky.fails()
    asked = len(sky.clouds.asked)
    answer = sky.plan(intent=Intent.ROLLBACK)
    assert (len(sky.clouds.asked), len(answer.targets)) == (asked, 5)
    sky.now_lists(*map(server, range(1, 7)))
    assert sky.take(answer).plan == EVERYBODY_MAY_BE_LOST
    assert sky.plan(plan=None).deployment.plan.joiners is Joiners.OLD
    assert sky.plan(intent=Intent.ROLLBACK, plan=None).deployment.plan.joiners is Joiners.NEW


@pytest.mark.parametrize(
    ("wanted", "then", "sentence"),
    [
        pytest.param({}, [1, 2, 3, 4, 5, 6], "web-00000006 came|web-i-00000006 came", id="a server came"),
        pytest.param({}, [1, 2, 3, 4], "web went", id="a server went"),
        pytest.param({}, [2, 3, 4, 5], "web-1 went", id="a server with agent went"),
        pytest.param(
            {"hosts": ["web-1", "web-2"]}, [2, 3, 4, 5], "no source of production lists", id="a named one went"
        ),
    ],
)
def test_a_plan_that_means_others_by_now_is_refused(
    sky: Sky, wanted: dict[str, object], then: list[int], sentence: str
) -> None:
    """What a person looked at is what is deployed to, or it has to be looked at again."""
    answer = sky.plan(**wanted)
    sky.now_lists(*map(server, then))
    with pytest.raises((Blocked, UnknownName), match=sentence):
        sky.take(answer)
    assert sky.controller.client.deployments() == []


def test_a_host_whose_tag_changed_is_not_deployed_to_by_accident(sky: Sky) -> None:
    """The filter is asked again when the signed deployment comes back."""
    answer = sky.plan(where=HostFilter(tags={"role": "web"}))
    sky.now_lists(server(1, tags={"role": "db"}), *map(server, range(2, 6)))
    with pytest.raises(Blocked, match="web-1 went") as refusal:
        sky.take(answer)
    assert "Plan it again" in (refusal.value.hint or "")


def test_what_nobody_remembers_planning_goes_by_what_was_signed(sky: Sky) -> None:
    """After a restart of the controller between plan and order."""
    everybody, some = sky.plan(), sky.plan(hosts=["web-1", "web-2"])
    sky.controller.on_loop(sky.controller.desk.planner._seen.clear)  # as a restart would
    sky.now_lists(*map(server, range(1, 7)))
    sky.take(everybody)
    again = sky.plan(hosts=["web-1", "web-2"])
    assert some.deployment.targets == again.deployment.targets
    sky.controller.on_loop(sky.controller.desk.planner._seen.clear)  # as a restart would
    sky.now_lists(*map(server, range(2, 7)))
    with pytest.raises(UnknownName, match="left production since this was planned"):
        sky.take(again)


def test_an_agent_that_joins_a_planned_server_changes_no_plan_for_everybody(sky: Sky) -> None:
    """The server was in the plan already. Where ids are signed, its own is not among them."""
    everybody, some = sky.plan(), sky.plan(where=HostFilter(zones=["eu-west-1a"]))
    sky.controller.enrol("web-5", instance="aws:i-00000005")
    with pytest.raises(Blocked, match="web-5 came"):
        sky.take(some)
    sky.take(everybody)


def test_a_typo_is_told_before_any_cloud_is_asked(sky: Sky) -> None:
    """Nobody waits a minute, nor looks at a cloud's trouble, to learn that a version does not exist."""
    sky.fails()
    with pytest.raises(UnknownName):
        sky.plan(version="9.9.9")


def test_a_host_that_joins_before_its_cloud_lists_it_is_asked_for_soon(sky: Sky) -> None:
    """Not after `discover_every`: an autoscaled server gets what runs within seconds."""
    deployment = sky.take(sky.plan())
    runs = Running("shop", "1.0.0", deployment.release, deployment.sha256, is_active=True)
    assert sky.controller.client.hosts("production")[0].running == []
    sky.clouds.says["aws"] = [*map(server, range(1, 6)), server(9)]
    asked = len(sky.clouds.asked)
    late = sky.controller.enrol("web-9", instance="aws:i-00000009")
    assert not sky.hosts()["web-9"].is_discovered
    ends = time.monotonic() + 20
    while not sky.hosts()["web-9"].is_discovered:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert len(sky.clouds.asked) == asked + 1
    sky.controller.turn(late.says(time.time(), deployment, HostStatus.COMMITTED, runs))


def test_a_broken_fleet_toml_hides_nothing_that_was_known(sky: Sky) -> None:
    """Hosts, sources and status answer, a host can be shut out; what is new is blocked, and says where it broke."""
    sky.take(sky.plan())
    path = sky.controller.home / "fleet.toml"
    path.write_text(path.read_text().replace("discover_every", "discover_evry"))
    assert len(sky.hosts()) == 5
    assert len(sky.controller.client.hosts()) == 5
    assert len(sky.controller.client.status()) == 1
    [source] = sky.controller.client.sources()
    assert "discover_evry" in source.trouble
    with pytest.raises(Blocked, match="discover_evry"):
        sky.plan()
    sky.controller.client.revoke("web-4", "production")
    assert not any(host.name == "web-4" for host in sky.controller.client.hosts())
