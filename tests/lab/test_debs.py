"""The Debian packages do what an administrator expects of a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import debs
from .cache import Cache
from .lab import Lab
from .server import Server

AGENT_TOML = "/etc/clarion-agent/agent.toml"
UNITS = {
    "clarion-agent.service": "clarion-agent",
    "clarion-agent-join.service": "clarion-agent",
    "clarion-controller.service": "clarion",
    "clarion-builder.service": "clarion",
}


def agent_server(lab: Lab, cache: Cache) -> Server:
    """Boot a server on which apt has installed the agent."""
    return lab.boot("web-1", layers=[debs.installed(cache, "clarion-agent")])[0]


def deb(cache: Cache, package: str) -> Path:
    """Return the file of a package."""
    return next(debs.build(cache).glob(f"{package}_*.deb"))


@pytest.mark.parametrize("unit", UNITS)
def test_an_installed_unit_waits_for_its_cluster(lab: Lab, cache: Cache, unit: str) -> None:
    """After 'apt install' the unit is enabled, does not start without a cluster, and has not failed either."""
    (server,) = lab.boot("web-1", layers=[debs.installed(cache, UNITS[unit])])
    assert server.run("systemctl", "is-enabled", unit).stdout.strip() == "enabled"
    assert server.show(unit, "ConditionResult") == "no"
    assert server.state() == "running"


def test_configuration_is_kept_on_an_upgrade(lab: Lab, cache: Cache) -> None:
    """What an administrator wrote into agent.toml stays when the package is installed again."""
    server = agent_server(lab, cache)
    server.write(AGENT_TOML, '[app.shop]\nunits = ["shop.service"]\n')
    server.copy_in(deb(cache, "clarion-agent"), "/root")
    server.run("sh", "-c", "apt-get install --yes --reinstall /root/clarion-agent_*.deb", timeout=120)
    assert server.read(AGENT_TOML) == '[app.shop]\nunits = ["shop.service"]\n'


def test_a_purge_forgets_the_identity_but_never_the_apps(lab: Lab, cache: Cache) -> None:
    """'apt purge' removes keys, state and configuration; what was deployed goes on running from its folder."""
    server = agent_server(lab, cache)
    server.write("/srv/clarion/shop/current", "an app")
    server.write("/var/lib/clarion-agent/identity/record.json", "{}")
    server.run("apt-get", "purge", "--yes", "clarion-agent", timeout=120)
    wants = "/etc/systemd/system/multi-user.target.wants/clarion-agent-join.service"
    for gone in ("/var/lib/clarion-agent", AGENT_TOML, "/opt/clarion-agent", "/usr/bin/clarion-agent", wants):
        assert server.run("test", "-e", gone, check=False).returncode == 1, gone
    assert server.read("/srv/clarion/shop/current") == "an app"
    assert server.state() == "running"


def test_both_packages_live_on_one_server(lab: Lab, cache: Cache) -> None:
    """The controller's server can be deployed to as well: the packages share no file."""
    server = agent_server(lab, cache)
    server.copy_in(deb(cache, "clarion"), "/root")
    server.run("sh", "-c", "apt-get install --yes /root/clarion_*.deb", timeout=120)
    assert server.run("clarion", "--version").stdout.startswith("clarion ")
