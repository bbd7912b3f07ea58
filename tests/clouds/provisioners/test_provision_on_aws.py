"""`clarion provision` from end to end: a live controller, moto for AWS, and a stand-in for the server that boots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.controller.live import Live, LiveHost, live, new_cluster
from tests.stores import Cluster

from clarion_controller.cli import newcomer, run
from clarion_protocol.words import DeploymentStatus, ExitCode

pytest.importorskip("boto3", reason="needs boto3: pip install 'clarion[aws]'")
from tests.clouds.provisioners.booting import (
    booting,
    deployed,
    ec2,
    instance_called,
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
agent = "https://packages.example.net/clarion-agent.deb"
agent_config = "roles/web.agent.toml"
aws = {{ region = "eu-west-1", image = "ami-12c6146b", instance_type = "t3.large", tags = {{ role = "web" }}, endpoint = "{moto}" }}
"""  # noqa: E501 (an inline table is one line)


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

    def write(self, roles: str = "") -> None:
        """Write what of fleet.toml is not the controller's."""
        path = self.cluster.home / "fleet.toml"
        head = path.read_text().partition("[environment.production]")[0]
        path.write_text(head + (SOURCE + roles).format(moto=self.moto))

    def serves_with(self, controller: Live) -> LiveHost:
        """Switch web-1 on, let it join, and let it be heard."""
        tags = [{"Key": "Name", "Value": "web-1"}, {"Key": "role", "Value": "web"}, {"Key": "team", "Value": "shop"}]
        made = ec2(self.moto).run_instances(
            ImageId=IMAGE,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        host = controller.enrol("web-1", instance=f"aws:{made['Instances'][0]['InstanceId']}")
        controller.await_on_loop(lambda: controller.desk.discovery.refresh("production"))
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
