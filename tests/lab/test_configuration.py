"""A server's configuration deployed as a package: Puppet's work is tested, rolled out, checked and rolled back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from . import debs
from .cache import Cache
from .cluster import ENVIRONMENT, Cluster
from .debian import PUPPET, with_packages
from .lab import Lab
from .server import Server

EXAMPLE = Path(__file__).parents[2] / "examples/puppet"
APP = "web-config"
UNIT = "web-config.service"
MANIFEST = "modules/web/manifests/init.pp"
TEMPLATE = "modules/web/templates/site.conf.epp"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def workshop(lab: Lab, cache: Cache) -> Cluster:
    """Return a server on which configurations are built; there is no cluster yet."""
    (control,) = lab.boot("control", layers=_with_puppet(cache, "clarion"))
    return Cluster(lab, control, [])


@pytest.fixture
def cluster(workshop: Cluster, cache: Cache) -> Cluster:
    """Return a controller and two servers with Puppet that are not configured yet."""
    cluster = workshop
    cluster.webs = cluster.lab.boot("web-1", "web-2", layers=_with_puppet(cache, "clarion-agent"))
    cluster.found("")
    for web in cluster.webs:
        _join(cluster, web)
    cluster.wait_until_connected()
    return cluster


def _with_puppet(cache: Cache, package: str) -> list[Path]:
    puppet = with_packages(cache, *PUPPET)
    return [debs.installed(cache, package, over=puppet), puppet]


def _join(cluster: Cluster, web: Server) -> None:
    web.write("/etc/clarion-agent/agent.toml", f'[app.{APP}]\nunits = ["{UNIT}"]\n')
    web.write(f"/etc/systemd/system/{UNIT}", (EXAMPLE / UNIT).read_text(encoding="utf-8"))
    web.run("systemctl", "enable", UNIT)
    web.run("clarion-agent", "join", cluster.must("hosts", "invite", web.name, "-e", ENVIRONMENT).strip())
    web.run("systemctl", "start", "clarion-agent")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of the example to change."""
    return shutil.copytree(EXAMPLE, tmp_path / "puppet", ignore=shutil.ignore_patterns("__pycache__"))


def change(file: Path, old: str, new: str) -> None:
    """Replace `old`, which has to be there, in a file."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def build(cluster: Cluster, source: Path, version: str) -> str:
    """Build a version, publish it if that went well, and return what was said."""
    cluster.control.run("rm", "-rf", "/srv/source")
    cluster.control.copy_in(source, "/srv/source")
    built = cluster.clarion("build", "/srv/source/puppet", "--version", version, "--out", "/tmp/dist")
    if built.returncode == 0:
        cluster.must("publish", f"/tmp/dist/{APP}-{version}.tar.zst")
    return built.stdout + built.stderr


def deploy(cluster: Cluster, version: str) -> int:
    """Deploy a version and return the exit code."""
    return cluster.clarion("deploy", APP, version, "-e", ENVIRONMENT, "--yes", timeout=240).returncode


def report(cluster: Cluster) -> str:
    """Return what the hosts said of the newest deployment."""
    newest = json.loads(cluster.must("history", APP, "-e", ENVIRONMENT, "--json"))[0]
    return cluster.must("logs", newest["id"])


def answers(cluster: Cluster, path: str) -> set[str]:
    """Return what the servers answer to a request."""
    return {web.run("curl", "--silent", f"http://127.0.0.1:8081{path}").stdout.strip() for web in cluster.webs}


def test_a_configuration_is_rolled_out_checked_and_rolled_back(cluster: Cluster, source: Path) -> None:
    """What Puppet manages answers as the package says; where it does not, the configuration before is applied again."""
    assert "Built" in build(cluster, source, "1.0.0")
    assert deploy(cluster, "1.0.0") == 0, report(cluster)
    assert answers(cluster, "/version") == {"1.0.0"}
    assert answers(cluster, "/") == {"This server is web-1.", "This server is web-2."}

    change(source / TEMPLATE, "default_type text/plain;", "default_type text/plain")  # only nginx itself can tell
    build(cluster, source, "1.1.0")
    assert deploy(cluster, "1.1.0") == 4
    assert answers(cluster, "/version") == {"1.0.0"}
    for web in cluster.webs:
        web.run("nginx", "-t")
        assert web.show(UNIT, "ActiveState") == "active"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("ensure  => running,", "ensure  => running", "[test] static: ", id="a syntax error"),
        pytest.param("running,", "running, ", "trailing whitespace", id="bad style"),
        pytest.param("/ 1048576", "/ 1024", "[test] package: ", id="a wrong result for recorded facts"),
        pytest.param(
            "Package['nginx-light'],\n    notify",
            "Package['nginks'],\n    notify",
            "nginks",
            id="a loose end",
        ),
    ],
)
def test_a_configuration_that_is_wrong_is_not_even_built(
    workshop: Cluster, source: Path, old: str, new: str, said: str
) -> None:
    """Each stage finds what the one before it cannot see."""
    change(source / MANIFEST, old, new)
    assert said in build(workshop, source, "1.0.0")
