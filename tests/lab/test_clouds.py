"""One fleet on three clouds and a server in none: what the clouds list is what is deployed to, and nobody keeps a list.

The servers join at boot, by one token that lies on their disks. The controller runs as its unit, with the clouds'
SDKs installed from their packages. No test relies on one before it; each leaves a fleet that runs what is wanted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from . import debs
from .cache import Cache
from .cluster import AGENT, ENVIRONMENT, Cluster, Truth, host_status
from .lab import Lab
from .server import Server
from .shop import UNIT, quick_shop
from .until import until

pytest.importorskip("googleapiclient", reason="the clouds' doubles are not installed; run 'make clouds'")

from tests.clouds import fake_ec2, fake_gce

from .clouds import KEYS, Clouds, Instance, cloud_around, clouds_around

TOKEN_FILE = "/etc/clarion-agent/join.token"
STATE = "/var/lib/clarion-agent"
JOIN = "clarion-agent-join.service"
RUN = "clarion-agent.service"
IN_CHANGE = ("draining", "activating", "checking", "baking")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0", "4.0.0")
STRATEGY = 'max_unreachable = "5%"\nlease_timeout = "60s"\n'
FIRST = {
    "aws-1": Instance("aws", 1),
    "aws-2": Instance("aws", 2),
    "gcp-1": Instance("gcp", 3),
    "azure-1": Instance("azure", 4),
    "metal-1": None,
}
ALL_AT_ONCE = ("--max-parallel", "100%")
TROUBLES = ("the AWS credentials have expired", "Compute Engine does not answer as it should")
NOTHING = Truth("inactive", "", "", "")

pytestmark = pytest.mark.timeout(600)


@dataclass
class Fleet:
    """A cluster and the clouds around it; what is added to it ends with `stack`."""

    cluster: Cluster
    clouds: Clouds
    cache: Cache
    stack: ExitStack
    token: str = ""
    instances: dict[str, Instance] = field(default_factory=dict)

    def image(self, name: str, instance: Instance | None) -> Server:
        """Return a server made from an image with the agent, switched off, a join token on its disk."""
        server = self.cluster.lab.prepare(name, [debs.installed(self.cache, "clarion-agent")])
        if instance:
            self.instances[name] = instance
            self.stack.enter_context(cloud_around(self.cluster.lab, server, instance))
        server.bake("/etc/clarion-agent/agent.toml", f'cloud = "{instance.cloud if instance else "none"}"\n{AGENT}')
        server.bake("/etc/systemd/system/shop.service", UNIT.read_text(encoding="utf-8"))
        server.bake(TOKEN_FILE, self.token, mode=0o600)
        return server

    def launch(self, name: str, instance: Instance) -> Server:
        """Boot a new server of a cloud, which does not list it yet, and wait until its agent is connected."""
        server = self.image(name, instance)
        self.cluster.lab.power_on(server)
        until(f"{name} is connected", lambda: name in self.cluster.connected())
        return server

    def terminate(self, server: Server) -> None:
        """Have a server go the way of its cloud: without power at once, and out of its list."""
        server.kill()
        self.clouds.delist(self.instances[server.name])
        self.cluster.webs = [web for web in self.cluster.webs if web is not server]

    def forget(self, name: str) -> None:
        """Revoke the agent of a server that is gone, as an operator tidies up."""
        self.cluster.must("hosts", "revoke", name, "-e", ENVIRONMENT, "--yes")

    def add(self, server: Server) -> None:
        """Have its cloud list a server."""
        self.clouds.list(self.instances[server.name])
        self.cluster.webs = [*self.cluster.webs, server]

    @property
    def names(self) -> set[str]:
        """The names of the servers that are there."""
        return {web.name for web in self.cluster.webs}

    def discovered(self) -> set[str]:
        """Return the names of what the controller believes to be there."""
        return {name for name, host in self.cluster.hosts().items() if host["is_discovered"]}

    def wait_until_all_run(self, version: str) -> None:
        """Wait until every server has committed to a version, and check that all sources agree."""
        committed = dict.fromkeys(self.names, "committed")
        self.cluster.wait_for(f"all to run {version}", lambda status: host_status(status) == committed)
        self.cluster.assert_all_run(version)

    def say(self) -> str:
        """Return what `clarion hosts` tells people."""
        return " ".join(self.cluster.must("hosts", "-e", ENVIRONMENT).split())


@pytest.fixture(scope="module")
def lab(cache: Cache) -> Iterator[Lab]:
    """Give one lab for all of these tests: its servers take longer to come up than most tests take."""
    with Lab(cache) as lab:
        yield lab


@pytest.fixture(scope="module")
def fleet(lab: Lab, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Give five servers, which joined by themselves and run 1.0.0 of the shop; others are published."""
    (control,) = lab.boot("control", layers=[debs.installed(cache, *debs.WITH_CLOUDS)])
    with ExitStack() as stack:
        clouds = stack.enter_context(clouds_around(lab, control))
        fleet = Fleet(Cluster(lab, control, []), clouds, cache, stack)
        found(fleet)
        shop = quick_shop(tmp_path_factory.mktemp("shop"))
        for version in VERSIONS:
            fleet.cluster.publish(shop, version)
        for web in fleet.cluster.webs:
            web.wait_until_up()
        fleet.cluster.wait_until_connected()
        until("all are listed", lambda: fleet.discovered() == fleet.names)
        succeed(fleet.cluster.deploy("1.0.0", *ALL_AT_ONCE))
        yield fleet


def found(fleet: Fleet) -> None:
    """Found the cluster and switch the first servers on, which their clouds list."""
    cluster, control = fleet.cluster, fleet.cluster.control
    control.write("/etc/clarion/controller.env", control.read("/etc/clarion/controller.env") + KEYS)
    cluster.found(STRATEGY, fleet.clouds.hosts("metal-1"))
    fleet.token = cluster.must("hosts", "invite", "-e", ENVIRONMENT, "--count", "20")
    cluster.webs = [fleet.image(name, instance) for name, instance in FIRST.items()]
    for instance in fleet.instances.values():
        fleet.clouds.list(instance)
    for web in cluster.webs:
        web.start()


def succeed(done: subprocess.CompletedProcess[str]) -> None:
    """Check that a command has succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr


def assert_blocked(done: subprocess.CompletedProcess[str], *sentences: str) -> None:
    """Check that a deployment was blocked, why, and that the way on is named."""
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 5, said
    for sentence in (*sentences, "add --accept-shrink"):
        assert sentence in said


def test_servers_of_three_clouds_and_one_of_none_are_one_fleet(fleet: Fleet) -> None:
    """Each is discovered, enrolled and connected, bound by its number in its cloud, and runs what was deployed once."""
    hosts = fleet.cluster.hosts()
    assert fleet.cluster.connected() == fleet.names == set(hosts)
    for name, host in hosts.items():
        instance = fleet.instances.get(name)
        assert (host["is_discovered"], host["is_enrolled"], host["findings"]) == (True, True, [])
        assert (host["instance"], host["source"]) == (str(instance or ""), instance.cloud if instance else "static")
    fleet.cluster.assert_all_run(str(fleet.cluster.status()["wanted"]))


def test_the_clouds_were_asked_from_within_the_hardened_unit(fleet: Fleet) -> None:
    """No memory that can be written can be executed where the SDKs run, and system calls are filtered."""
    control, unit = fleet.cluster.control, "clarion-controller.service"
    assert control.show(unit, "MemoryDenyWriteExecute") == "yes"
    assert "Seccomp:\t2" in control.read(f"/proc/{control.show(unit, 'MainPID')}/status")


def test_what_does_not_fit_together_stands_out(fleet: Fleet) -> None:
    """A listed server without agent is shown; an agent whose server nobody lists gets nothing until somebody does."""
    wanted = str(fleet.cluster.status()["wanted"])
    ghost = Instance("aws", 8)
    fleet.clouds.list(ghost)
    stray = fleet.launch("aws-9", Instance("aws", 9))
    until("the ghost is listed", lambda: fleet.discovered() == fleet.names | {ghost.name})
    hosts = fleet.cluster.hosts()
    assert (hosts[ghost.name]["instance"], hosts[ghost.name]["is_enrolled"]) == (str(ghost), False)
    assert (hosts["aws-9"]["is_discovered"], hosts["aws-9"]["is_enrolled"]) == (False, True)
    assert "no source lists it as aws:i-00000000000000009: nothing is deployed to it" in hosts["aws-9"]["findings"][0]
    assert fleet.cluster.truth(stray) == NOTHING

    fleet.clouds.delist(ghost)
    fleet.add(stray)
    fleet.wait_until_all_run(wanted)
    fleet.terminate(stray)
    until("both are gone", lambda: fleet.discovered() == fleet.names)
    fleet.forget("aws-9")


def test_servers_come_and_go_in_the_middle_of_a_rollout(fleet: Fleet) -> None:
    """One that boots joins the rollout by itself; one that is switched off and listed no more fails nothing."""
    cluster = fleet.cluster
    gone = next(web for web in cluster.webs if web.name == "aws-2")
    comes = fleet.image("aws-3", Instance("aws", 5))
    cluster.begin("2.0.0", "--max-parallel", "1", "--bake-time", "2s")
    comes.start()
    cluster.wait_until_host_is("aws-2", *IN_CHANGE)
    fleet.terminate(gone)
    comes.wait_until_up()
    fleet.add(comes)

    over = cluster.wait_until_over(120)["deployment"]
    assert (over["status"], over["reason"]) == ("succeeded", "all 5 hosts run 2.0.0")
    fleet.forget("aws-2")
    fleet.wait_until_all_run("2.0.0")


def test_clouds_in_trouble_block_deployments_but_no_way_back(fleet: Fleet) -> None:
    """With expired credentials and a cloud that fails nothing begins, unless somebody says so; going back just goes."""
    cluster, wanted = fleet.cluster, str(fleet.cluster.status()["wanted"])
    fleet.clouds.ec2.trouble = fake_ec2.error("ExpiredToken")
    fleet.clouds.gce.trouble = [fake_gce.error(500, "backendError", "Backend Error")] * 1000
    try:
        until("both are in trouble", lambda: all(each in fleet.say() for each in TROUBLES))
        assert_blocked(cluster.deploy("3.0.0"), "aws eu-west-1 has not answered since", *TROUBLES)
        cluster.assert_all_run(wanted)
        succeed(cluster.deploy("3.0.0", "--accept-shrink", *ALL_AT_ONCE))
        cluster.assert_all_run("3.0.0")
        succeed(cluster.clarion("rollback", "shop", wanted, "-e", ENVIRONMENT, "--yes"))
        cluster.assert_all_run(wanted)
    finally:
        fleet.clouds.ec2.trouble = None
        fleet.clouds.gce.trouble = []


def test_a_cloud_that_suddenly_lists_nothing_shrinks_no_fleet(fleet: Fleet) -> None:
    """Nothing begins until somebody says that it is true; what is listed again afterwards catches up by itself."""
    cluster, wanted = fleet.cluster, str(fleet.cluster.status()["wanted"])
    listed, everybody = fleet.clouds.ec2.running, cluster.webs
    fleet.clouds.ec2.running = []
    until("the answer is doubted", lambda: "which is not believed" in fleet.say())
    assert_blocked(cluster.deploy("4.0.0"), "aws eu-west-1 lists 0 hosts where it listed 2 before")
    cluster.assert_all_run(wanted)

    succeed(cluster.deploy("4.0.0", "--accept-shrink", *ALL_AT_ONCE))
    runs = {web.name: cluster.truth(web).answers for web in everybody}
    assert runs == {name: wanted if name.startswith("aws") else "4.0.0" for name in runs}
    fleet.clouds.ec2.running = listed
    fleet.wait_until_all_run("4.0.0")


def test_the_doctor_finds_all_well_and_names_a_permission_that_is_missing(fleet: Fleet) -> None:
    """Sources, store, ports and agents are well; a cloud that denies a permission is named with the permission."""
    well = fleet.cluster.clarion("doctor", "--json")
    # The keys that belong on a medium in a drawer still lie here.
    odd = [each for each in findings(well) if each["health"] != "ok" and each["subject"] != "keys"]
    assert (well.returncode, odd) == (0, [])
    fleet.clouds.ec2.trouble = fake_ec2.error("UnauthorizedOperation", status=403)
    try:
        ill = fleet.cluster.clarion("doctor", "--json")
    finally:
        fleet.clouds.ec2.trouble = None
    assert ill.returncode == 1
    (failed,) = [each for each in findings(ill) if each["health"] == "failed"]
    assert "AWS forbids ec2:DescribeInstances" in failed["sentence"]
    assert "Allow ec2:DescribeInstances in IAM" in failed["hint"]
    succeed(fleet.cluster.clarion("doctor"))


def test_one_server_of_a_cloud_has_one_agent(fleet: Fleet) -> None:
    """Who claims to be a server that has its agent is refused by name, and a copy of that agent's disk does not run."""
    first = next(web for web in fleet.cluster.webs if web.name == "aws-1")
    twin = fleet.image("twin", fleet.instances["aws-1"])
    fleet.cluster.lab.power_on(twin)
    assert twin.show(JOIN, "ActiveState") == "failed"
    assert "aws:i-00000000000000001 is already enrolled, as aws-1 in production" in twin.journal(JOIN)
    assert "another agent claimed" in fleet.cluster.hosts()["aws-1"]["findings"][0]

    twin.kill()
    copy = fleet.image("copy", Instance("aws", 7))
    shutil.copytree(first.on_disk(STATE), copy.on_disk(STATE), dirs_exist_ok=True)
    fleet.cluster.lab.power_on(copy)
    until("its agent has given up", lambda: copy.show(RUN, "ActiveState") == "failed")
    said = "copied from aws:i-00000000000000001; this is aws:i-00000000000000007"
    assert said in copy.journal(RUN)
    copy.kill()


def findings(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what the doctor found."""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
