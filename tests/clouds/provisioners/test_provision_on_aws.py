"""`clarion provision` from end to end: a live controller, moto for AWS, and a stand-in for the server that boots."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.controller.live import Live, LiveHost, live, new_cluster
from tests.stores import Cluster

from clarion_controller.cli import newcomer, run
from clarion_controller.provisioners.aws_ec2 import Ec2
from clarion_protocol.words import DeploymentStatus, ExitCode

pytest.importorskip("boto3", reason="needs boto3: pip install 'clarion[aws]'")
from tests.clouds.provisioners.booting import (
    booting,
    deployed,
    ec2,
    instance_called,
    user_data_of,
)

pytestmark = pytest.mark.timeout(180)
IMAGE = "ami-12c6146b"
SOURCE = """
[environment.production]
discover_every = "5s"
hosts = [{{ aws = {{ regions = ["eu-west-1"], tags = {{ role = "web" }}, endpoint = "{moto}" }} }}]
"""
ROLE = """
[role.web]
agent_config = "web.agent.toml"

[role.web.aws]
region = "eu-west-1"
image = "ami-12c6146b"
instance_type = "t3.large"
tags = {{ role = "{tag}" }}
endpoint = "{moto}"
"""


@dataclass
class Site:
    """A cluster with one server, web-1, on moto."""

    moto: str
    cluster: Cluster
    folder: Path
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def types(self, *arguments: str) -> int:
        """Run `clarion` and return its exit code."""
        code = run(["--home", str(self.cluster.home), *arguments])
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    def provisions(self, *options: str) -> int:
        """Run `clarion provision web-9 --like web-1 -e production` with these options."""
        return self.types("provision", "web-9", "--like", "web-1", "-e", "production", "--yes", *options)

    def write(self, role: str = "", tag: str = "web") -> None:
        """Write what of fleet.toml is not the controller's."""
        path = self.cluster.home / "fleet.toml"
        head = path.read_text().partition("\n[environment.production]")[0]
        path.write_text(head + (SOURCE + role).format(moto=self.moto, tag=tag))
        (self.cluster.home / "web.agent.toml").write_text('[app.shop]\nunits = ["shop.service"]\n')

    def switches_on(self, name: str) -> None:
        """Make a server by other means."""
        tags = [{"Key": "Name", "Value": name}, {"Key": "role", "Value": "web"}, {"Key": "team", "Value": "shop"}]
        ec2(self.moto).run_instances(
            ImageId=IMAGE,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )

    def serves_with(self, controller: Live) -> LiveHost:
        """Let web-1 join, be listed, and run shop."""
        found = instance_called(self.moto, "web-1")
        assert found
        host = controller.enrol("web-1", instance=f"aws:{found['InstanceId']}")
        until = time.monotonic() + 20
        while not all(each.is_discovered for each in controller.client.hosts("production")):
            assert time.monotonic() < until
            time.sleep(0.1)
        deployed(controller, "shop", [host])
        return host


@pytest.fixture
def site(moto: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site whose first app is published."""
    monkeypatch.setattr(newcomer, "LOOK_EVERY", 0.2)
    cluster = new_cluster(tmp_path)
    cluster.publish("1.0.0")
    site = Site(moto, cluster, tmp_path, capsys)
    site.write()
    site.switches_on("web-1")
    return site


def test_a_server_like_another_joins_and_runs_what_is_in_force(site: Site) -> None:
    """Without a role it is copied from its cloud: image, type, network, tags; then it joins as any other."""
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        with booting(site.moto, "web-9", site.cluster, site.folder / "agent") as server:
            assert site.provisions() == ExitCode.COMMITTED
            assert server.trouble is None
        model, made = (instance_called(site.moto, name) for name in ("web-1", "web-9"))
        [host] = [host for host in controller.client.hosts("production") if host.name == "web-9"]
        assert controller.client.invitations("production") == []
        [stream] = controller.client.status("production", "shop")
    assert stream.deployment
    assert stream.deployment.status is DeploymentStatus.SUCCEEDED
    assert model
    assert made
    assert {key: made.get(key) for key in COPIED} == {key: model.get(key) for key in COPIED}
    tags = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
    assert (tags["role"], tags["team"]) == ("web", "shop")
    assert "clarion-run" not in tags
    assert host.instance == f"aws:{made['InstanceId']}"
    assert server.runs == ["shop"]
    assert "runs what is in force." in site.out


COPIED = ("ImageId", "InstanceType", "SubnetId", "KeyName", "IamInstanceProfile", "SecurityGroups")


def test_a_role_with_its_groups_is_what_it_is_made_of(site: Site) -> None:
    """Not what the model happens to be; and what was ordered for others by name is told, with the command."""
    site.write(ROLE)
    site.cluster.publish("1.0.0", app="cron")
    with live(site.cluster.home) as controller:
        host = site.serves_with(controller)
        deployed(controller, "cron", [host], names=["web-1"])
        with booting(site.moto, "web-9", site.cluster, site.folder / "agent") as server:
            assert site.provisions() == ExitCode.COMMITTED
            assert server.trouble is None
    made = instance_called(site.moto, "web-9")
    assert made
    assert made["InstanceType"] == "t3.large"
    assert "config=" in user_data_of(site.moto, made["InstanceId"])
    assert "[role.web] of fleet.toml" in site.out
    assert server.runs == ["shop"]
    assert "cron 1.0.0 was ordered for named hosts only" in site.err
    assert "'clarion deploy cron 1.0.0 -e production --hosts web-9'" in site.err


def alone(site: Site) -> bool:
    """Return whether there is one server, web-1, and nobody is invited."""
    return instance_called(site.moto, "web-9") is None


def test_a_server_that_does_not_join_is_removed_and_its_invitation_withdrawn(site: Site) -> None:
    """With the end of its console, which is all that is known of it."""
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions("--timeout", "1s") == ExitCode.FAILED
        assert controller.client.invitations("production") == []
    assert alone(site)
    assert "did not join within 1 s; its console ends:" in site.err
    assert "IRQ lockup detection disabled" in site.err
    assert "Its invitation is withdrawn; the server is removed." in site.err


def test_a_server_that_does_not_join_can_be_kept(site: Site) -> None:
    """Whoever looks into it gets the command that removes it; it cannot join any more."""
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions("--timeout", "1s", "--keep") == ExitCode.FAILED
        assert controller.client.invitations("production") == []
    made = instance_called(site.moto, "web-9")
    assert made
    assert f"aws ec2 terminate-instances --instance-ids {made['InstanceId']} --region eu-west-1" in site.err


def test_who_does_not_wait_is_told_how_to_look(site: Site) -> None:
    """The server joins by itself, within the hour."""
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions("--no-wait") == ExitCode.COMMITTED
        [invitation] = controller.client.invitations("production")
    assert (invitation.name, invitation.uses_left) == ("web-9", 1)
    assert "may join within the hour: 'clarion hosts -e production'" in site.out


def test_ctrl_c_while_it_boots_says_what_exists(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs money from now on, and may still join: both can be ended by what is said."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(newcomer, "_look", interrupt)
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions() == 130
        [invitation] = controller.client.invitations("production")
    made = instance_called(site.moto, "web-9")
    assert made
    assert f"web-9 (aws:{made['InstanceId']}, {made['PrivateIpAddress']}) exists" in site.err
    assert f"aws ec2 terminate-instances --instance-ids {made['InstanceId']}" in site.err
    assert f"clarion hosts uninvite {invitation.id} -e production" in site.err


def test_ctrl_c_while_it_is_made_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a server nor an invitation."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ec2, "wait", interrupt)
    monkeypatch.setattr(Ec2, "terminate", lambda ec2, numbers: ec2.client.terminate_instances(InstanceIds=numbers))
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions() == 130
        assert controller.client.invitations("production") == []
    assert alone(site)
    assert "is taken away again, and its invitation is withdrawn" in site.err


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "an unknown host": (("web-9", "--like", "web-3"), ExitCode.USAGE, "Did you mean web-1"),
    "a name that is taken": (("web-1", "--like", "web-1"), ExitCode.BLOCKED, "a host web-1 in production already"),
    "an unknown role": (("web-9", "--like", "web-1", "--role", "bd"), ExitCode.USAGE, "there is no role 'bd'"),
    "nobody to ask": (("web-9", "--like", "web-1"), ExitCode.USAGE, "Add --yes where no person is"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_makes_nothing_and_invites_nobody(
    site: Site, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """It costs neither money nor trust."""
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.types("provision", *arguments, "-e", "production") == code
        assert controller.client.invitations("production") == []
    assert alone(site)
    assert words in site.err


def test_a_role_whose_servers_no_source_lists_is_refused(site: Site) -> None:
    """They would join and be given nothing."""
    site.write(ROLE, tag="db")
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions() == ExitCode.USAGE
    assert alone(site)
    assert "no source of its environment would list web-9: the aws source looks for role = web" in site.err


def test_a_server_that_cannot_be_made_invites_nobody(site: Site) -> None:
    """The first boot is too long: AWS is never asked."""
    site.write(ROLE)
    (site.cluster.home / "web.agent.toml").write_bytes(random.Random(7).randbytes(40_000).hex().encode())
    with live(site.cluster.home) as controller:
        site.serves_with(controller)
        assert site.provisions() == ExitCode.USAGE
        assert controller.client.invitations("production") == []
    assert alone(site)
    assert "AWS takes 16,384" in site.err
