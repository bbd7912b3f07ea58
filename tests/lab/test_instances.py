"""New servers in a cloud, whole: what Clarion hands over as user data makes a plain Debian a host that runs the app.

The image knows nothing of Clarion. The agent comes as a package over HTTPS and is installed by apt; setup script,
token, joining, discovery and deployment are those of the documents.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.agent.net.test_fetch import certificate_for

from . import debs
from .cache import Cache
from .cluster import APP, ENVIRONMENT, FLEET, Cluster, Truth
from .lab import Lab
from .network import HERE
from .server import Server
from .shop import UNIT, quick_shop

pytest.importorskip("moto.server", reason="the clouds' doubles are not installed; run 'make clouds'")

from .clouds import KEYS
from .instances import HOST, Ec2, ec2_around, repository_of

pytestmark = pytest.mark.timeout(600)

HOSTS = """\
roles = ["web", "visitor"]
discover_every = "5s"
hosts = [
    {{ aws = {{ regions = ["eu-west-1"], tags = {{ fleet = "shop" }}, endpoint = "{ec2}" }} }},
    {{ static = ["web-1"] }},
]
"""
ROLES = """
[nightly]
address = "{control}"

[role.web]
agent = "{packages}/clarion-agent.deb"
agent_config = "web.agent.toml"
setup = "web.sh"

[role.web.aws]
region = "eu-west-1"
image = "ami-12c6146b"
instance_type = "t3.small"
tags = {{ fleet = "shop" }}
endpoint = "{ec2}"

[role.visitor]
apps = []
agent = "{packages}/clarion-agent.deb"
agent_config = "visitor.agent.toml"

[role.visitor.aws]
region = "eu-west-1"
image = "ami-12c6146b"
instance_type = "t3.small"
endpoint = "{ec2}"

[[integration]]
name = "the shop answers"
from = "visitor"
to = "web"
http = "8080/version"
contains = "1.0.0"
"""
SETUP = f"""\
#!/bin/sh
set -eu
cat > /etc/systemd/system/{APP}.service <<'UNIT'
{UNIT.read_text(encoding="utf-8")}
UNIT
systemctl enable {APP}.service
"""
FILES = {
    "web.agent.toml": f'cloud = "aws"\n[app.{APP}]\nunits = ["{APP}.service"]\n',
    "visitor.agent.toml": 'cloud = "aws"\n',
    "web.sh": SETUP,
}
IMAGE = {"/etc/hosts": f"127.0.0.1 localhost\n{HERE} {HOST}\n", "/etc/apt/sources.list": ""}


@dataclass
class Site:
    """A cluster with one server of metal, web-1, which runs the shop, and a cloud that has none yet."""

    cluster: Cluster
    ec2: Ec2

    def clarion(self, *arguments: str, user: str = "clarion") -> subprocess.CompletedProcess[str]:
        """Run `clarion` as somebody with keys of AWS; the caller looks at the exit code."""
        command = ("runuser", "-u", user, "--", "env", *KEYS.split(), "clarion", *arguments)
        return self.cluster.control.run(*command, check=False, timeout=400)


@pytest.fixture(scope="module")
def lab(cache: Cache) -> Iterator[Lab]:
    """Give one lab for both tests: neither relies on the other."""
    with Lab(cache) as lab:
        yield lab


@pytest.fixture(scope="module")
def site(lab: Lab, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give such a site."""
    folder = tmp_path_factory.mktemp("site")
    (control,) = lab.boot("control", layers=[debs.installed(cache, *debs.WITH_CLOUDS)])
    (web,) = lab.boot("web-1", layers=[debs.installed(cache, "clarion-agent")])
    packages = folder / "packages"
    packages.mkdir()
    (packages / "clarion-agent.deb").symlink_to(next(debs.build(cache).glob("clarion-agent_*.deb")))
    certificate = certificate_for(HOST, folder)
    trusted = {"/etc/ssl/certs/ca-certificates.crt": certificate.read_text(encoding="utf-8")}
    with ExitStack() as stack:
        url = stack.enter_context(repository_of(lab, packages, certificate))
        ec2 = stack.enter_context(ec2_around(lab, control, {**IMAGE, **trusted}))
        cluster = Cluster(lab, control, [web])
        control.write("/etc/clarion/controller.env", control.read("/etc/clarion/controller.env") + KEYS)
        roles = ROLES.format(control=control.address, packages=url, ec2=ec2.address)
        cluster.found(FLEET.format(unreachable="5%") + roles, HOSTS.format(ec2=ec2.address))
        for name, text in FILES.items():
            control.write(f"/var/lib/clarion/{name}", text)
        cluster.join(web)
        cluster.publish(quick_shop(folder), "1.0.0")
        cluster.wait_until_connected()
        done = cluster.deploy("1.0.0")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Site(cluster, ec2)


def test_a_new_server_comes_from_its_user_data_alone(site: Site) -> None:
    """`clarion provision` returns when it runs what web-1 runs; it is listed, bound to its instance, and its own."""
    done = site.clarion("provision", "web-9", "--like", "web-1", "-e", ENVIRONMENT, "--role", "web", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    server = site.ec2.named("web-9")
    server.wait_until_up()
    assert site.cluster.truth(server) == Truth("active", "1.0.0", "1.0.0", "1.0.0")
    host = site.cluster.hosts()["web-9"]
    assert (host["is_discovered"], host["is_connected"], host["findings"]) == (True, True, [])
    assert host["instance"] == f"aws:{server.name}"
    assert server.run("hostname").stdout.strip() == "web-9"
    assert server.show("first-boot.service", "Result") == "success"
    said = [f"clarion: {each}" for each in ("installs the agent", "runs the setup script", "joins", "has joined")]
    assert [line for line in first_boot(server).splitlines() if line.startswith("clarion: ")] == said


def test_a_night_in_a_cloud_makes_checks_and_ends_its_servers(site: Site) -> None:
    """Both roles come up in EC2, take what is in force, see each other, and are terminated; production sees nothing."""
    hosts, servers = {*site.cluster.hosts()}, {*site.ec2.servers}
    night = site.clarion("nightly", "--only", "servers", "--json", user="root")
    said = night.stdout + night.stderr
    assert night.returncode == 0, said
    checks = {check["name"]: check["result"] for check in json.loads(night.stdout)["checks"]}
    assert checks == {
        "sweep": "works",
        f"server {ENVIRONMENT}/web": "works",
        f"server {ENVIRONMENT}/visitor": "works",
        f"integration the shop answers in {ENVIRONMENT}": "works",
    }, said
    made = [server for number, server in site.ec2.servers.items() if number not in servers]
    assert [server.is_on for server in made] == [False, False]
    assert {*site.cluster.hosts()} == hosts


def first_boot(server: Server) -> str:
    """Return what the user data of a server printed."""
    journal = ("journalctl", "--no-pager", "--output=cat", "--unit=first-boot.service")
    return server.run(*journal, check=False).stdout
