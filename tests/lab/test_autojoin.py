"""A server that nobody logs into: it finds a token at boot, joins as its cloud numbers it, and runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import debs
from .cache import Cache
from .cluster import APP, ENVIRONMENT, Cluster, set_up
from .island import children
from .lab import Lab
from .server import Server
from .shop import UNIT
from .until import until

INSTANCE = "i-0123456789abcdef0"
METADATA = Path(__file__).parent.parent / "metadata_service.py"
TOKEN_FILE = "/etc/clarion-agent/join.token"
JOIN = "clarion-agent-join.service"

pytestmark = pytest.mark.timeout(600)


@contextmanager
def cloud_around(lab: Lab, name: str, instance: str = INSTANCE) -> Iterator[None]:
    """Run a metadata service in a server's network, outside of the server, where it outlives a reboot."""
    command = ("ip", "netns", "exec", name, sys.executable, str(METADATA), "aws", instance)
    service = subprocess.Popen(lab.island.command(*command))
    try:
        yield
    finally:
        # Its child: nsenter forks where it enters a process namespace, and passes no signal on.
        for child in children(service.pid):
            os.kill(child, signal.SIGTERM)
        service.wait(10)


def image(lab: Lab, cache: Cache, name: str) -> Server:
    """Boot what an image with the agent makes: configured, and in no cluster."""
    (server,) = lab.boot(name, layers=[debs.installed(cache, "clarion-agent")])
    server.write("/etc/clarion-agent/agent.toml", f'cloud = "aws"\n[app.{APP}]\nunits = ["shop.service"]\n')
    server.write("/etc/systemd/system/shop.service", UNIT.read_text(encoding="utf-8"))
    server.run("systemctl", "enable", "shop.service")
    return server


def reboot(server: Server) -> None:
    """Pull the plug and boot again; a join that has to wait for the controller does not hold the boot up."""
    server.kill()
    server.boot()


def join(cluster: Cluster, server: Server) -> None:
    """Hand a token to a server that has booted, and wait until its agent runs."""
    server.write(TOKEN_FILE, cluster.must("hosts", "invite", "-e", ENVIRONMENT), mode="0600")
    server.run("systemctl", "start", JOIN, timeout=60)
    until("the agent runs", lambda: is_active(server))


def has_token(server: Server) -> bool:
    """Return whether the file with the token is there."""
    return server.run("test", "-e", TOKEN_FILE, check=False).returncode == 0


def is_active(server: Server) -> bool:
    """Return whether the agent runs."""
    return server.show("clarion-agent.service", "ActiveState") == "active"


def connected(cluster: Cluster) -> list[str]:
    """Return the names of the hosts that are connected."""
    return [host["name"] for host in json.loads(cluster.must("hosts", "--json")) if host["is_connected"]]


def test_a_server_joins_at_boot_when_the_controller_is_back(lab: Lab, cache: Cache) -> None:
    """It waits for a controller that is away, starts its agent then, keeps no token, and at the next boot just runs."""
    cluster = set_up(lab, cache, webs=0)
    server = image(lab, cache, "web-1")
    assert server.show(JOIN, "ActiveState") == "inactive"
    server.write(TOKEN_FILE, cluster.must("hosts", "invite", "-e", ENVIRONMENT, "--count", "5"), mode="0600")
    cluster.control.run("systemctl", "stop", "clarion-controller")

    with cloud_around(lab, server.name):
        reboot(server)
        until("a second attempt", lambda: int(server.show(JOIN, "NRestarts")) > 0)
        assert not is_active(server)
        assert has_token(server)

        cluster.control.run("systemctl", "start", "clarion-controller")
        until("the server is admitted", lambda: connected(cluster) == ["web-1"], 90)
        until("the agent runs", lambda: is_active(server))  # it is started only when the joining is over
        assert not has_token(server)
        status = json.loads(server.run("clarion-agent", "status", "--json").stdout)
        assert status["identity"]["instance"] == f"aws:{INSTANCE}"

        server.write(TOKEN_FILE, "put there again by what boots the server", mode="0600")
        reboot(server)
        until("the agent runs", lambda: is_active(server))
        assert server.show(JOIN, "ConditionResult") == "no"
        assert server.state() == "running"


def test_a_token_that_is_refused_is_not_tried_for_ever(lab: Lab, cache: Cache) -> None:
    """The unit fails, for a person or a monitor to see; a new token and one command bring the server in."""
    cluster = set_up(lab, cache, webs=0)
    server = image(lab, cache, "web-1")
    server.write(TOKEN_FILE, "clarion1.nonsense\n", mode="0600")
    assert server.run("systemctl", "start", JOIN, check=False).returncode != 0
    assert server.show(JOIN, "ActiveState") == "failed"
    assert "not a whole join token" in server.journal(JOIN)
    with cloud_around(lab, server.name):
        join(cluster, server)


def test_a_copied_disk_is_not_run_again(lab: Lab, cache: Cache) -> None:
    """The unit of a server that was made from another one fails once, says from which one, and is left alone."""
    cluster = set_up(lab, cache, webs=0)
    server = image(lab, cache, "web-1")
    with cloud_around(lab, server.name):
        join(cluster, server)
        server.run("systemctl", "stop", "clarion-agent")
    with cloud_around(lab, server.name, "i-0fedcba9876543210"):
        server.run("systemctl", "start", "clarion-agent", check=False)
        until("the unit has failed", lambda: server.show("clarion-agent.service", "ActiveState") == "failed")
        assert server.show("clarion-agent.service", "ExecMainStatus") == "78"
        assert f"copied from aws:{INSTANCE}; this is aws:i-0fedcba9876543210" in server.journal("clarion-agent")
