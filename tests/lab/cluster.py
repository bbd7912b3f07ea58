"""A cluster as an operator sets it up: a controller, agents that joined it, and the shop's unit on each server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import debs, shop
from .cache import Cache
from .lab import Lab
from .server import Server

ENVIRONMENT = "production"
APP = "shop"
PORT = 8080
CURRENT = f"/srv/clarion/{APP}/current"
AS_CLARION = ("runuser", "-u", "clarion", "--", "clarion")
AGENT = f'[app.{APP}]\nunits = ["shop.service"]\n'
FLEET = """
max_unreachable = "{unreachable}"
lease_timeout = "10s"
"""


@dataclass(frozen=True)
class Truth:
    """What one server really runs, from four independent sources."""

    state: str
    answers: str
    link: str
    folder: str


class Cluster:
    """The controller `control` and the servers whose agents have joined it."""

    def __init__(self, lab: Lab, control: Server, webs: Sequence[Server], environment: str = ENVIRONMENT) -> None:
        self.lab = lab
        self.control = control
        self.webs = list(webs)
        self.environment = environment

    def found(self, strategy: str, hosts: str = "") -> None:
        """Found the cluster; `strategy` and `hosts` are lines for these parts of its environment in fleet.toml."""
        # as root, like the package's own hint: only the home's owner gets the keys
        self.control.run("clarion", "init", "--address", self.control.address, "-e", self.environment)
        table = f"[environment.{self.environment}]\n"
        fleet = self.control.read("/var/lib/clarion/fleet.toml").replace(table, table + hosts) + strategy
        self.control.write("/var/lib/clarion/fleet.toml", fleet)
        self.control.run("systemctl", "start", "clarion-controller")
        self.wait_until_it_answers()

    # -- the operator's commands ---------------------------------------------------------------------------------

    def clarion(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `clarion` as the controller's user; the caller looks at the exit code."""
        return self.control.run(*AS_CLARION, *arguments, check=False, timeout=timeout)

    def must(self, *arguments: str) -> str:
        """Run `clarion`, which has to succeed, and return what it printed."""
        return self.control.run(*AS_CLARION, *arguments, timeout=120).stdout

    def publish(self, source: Path, version: str) -> None:
        """Build and publish a version of the shop."""
        self.control.run("rm", "-rf", "/srv/source")
        self.control.copy_in(source, "/srv/source")
        self.must("build", f"/srv/source/{source.name}", "--version", version, "--out", "/tmp/dist")
        self.must("publish", f"/tmp/dist/{APP}-{version}.tar.zst")

    def deploy(self, version: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Deploy a version and follow the rollout to its end."""
        return self.clarion("deploy", APP, version, "-e", self.environment, "--yes", *options)

    def begin(self, version: str, *options: str) -> None:
        """Deploy a version and do not wait."""
        self.must("deploy", APP, version, "-e", self.environment, "--yes", "--no-wait", *options)

    def join(self, server: Server) -> None:
        """Have a server join, on which the shop may be restarted."""
        server.write("/etc/clarion-agent/agent.toml", AGENT)
        server.write("/etc/systemd/system/shop.service", shop.UNIT.read_text(encoding="utf-8"))
        server.run("systemctl", "enable", "shop.service")
        token = self.must("hosts", "invite", server.name, "-e", self.environment).strip()
        server.run("clarion-agent", "join", token)
        server.run("systemctl", "start", "clarion-agent")

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return what `clarion hosts` says of each host, by name."""
        return {host["name"]: host for host in json.loads(self.must("hosts", "--json"))}

    def connected(self) -> set[str]:
        """Return the names of the hosts whose agents are connected."""
        return {name for name, host in self.hosts().items() if host["is_connected"]}

    def status(self) -> dict[str, Any]:
        """Return what `clarion status` says of the shop."""
        streams = json.loads(self.must("status", APP, "-e", self.environment, "--json"))
        found: dict[str, Any] = streams[0] if streams else {"hosts": [], "deployment": None}
        return found

    def logs(self) -> str:
        """Return what hosts reported of the newest deployment."""
        return self.clarion("logs", self.status()["deployment"]["id"]).stdout

    # -- what is true --------------------------------------------------------------------------------------------

    def claimed(self, status: dict[str, Any]) -> dict[str, str]:
        """Return the version that `clarion status` claims runs on each host, empty where nothing is active."""
        running = {
            host["name"]: [each for each in host["running"] if each["app"] == APP and each["is_active"]]
            for host in status["hosts"]
        }
        return {name: found[0]["version"] if found else "" for name, found in running.items()}

    def truth(self, web: Server) -> Truth:
        """Return what a server really runs."""
        pid = web.show("shop.service", "MainPID")
        return Truth(
            state=web.show("shop.service", "ActiveState"),
            answers=self.answer(web),
            link=_version(web.run("readlink", CURRENT, check=False).stdout),
            folder=_version(web.run("readlink", f"/proc/{pid}/cwd", check=False).stdout),
        )

    def answer(self, web: Server) -> str:
        """Return the version that answers on the server's port, empty if none does."""
        url = f"http://{web.address}:{PORT}/version"
        command = self.lab.island.command("curl", "--silent", "--fail", "--max-time", "2", url)
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()

    def assert_all_run(self, version: str) -> None:
        """Check that systemd, the service itself, the link and the status agree on every host."""
        wanted = Truth("active", version, version, version)
        assert {web.name: self.truth(web) for web in self.webs} == {web.name: wanted for web in self.webs}
        claimed = self.claimed(self.status())
        assert claimed == {web.name: version for web in self.webs}

    # -- waiting -------------------------------------------------------------------------------------------------

    def wait_for(self, what: str, holds: Callable[[dict[str, Any]], bool], seconds: float = 90) -> dict[str, Any]:
        """Return the first status for which `holds` is true.

        Raises:
            TimeoutError: none within `seconds`; the message carries the last one.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status()
            if holds(status):
                return status
            time.sleep(0.1)
        raise TimeoutError(f"waited {seconds:.0f} s for: {what}; now: {json.dumps(status['deployment'], indent=1)}")

    def wait_until_it_answers(self, seconds: float = 30) -> None:
        """Wait until the controller takes orders."""
        deadline = time.monotonic() + seconds
        while self.clarion("hosts").returncode != 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the controller does not answer after {seconds:.0f} s")
            time.sleep(0.1)

    def wait_until_connected(self, seconds: float = 60) -> None:
        """Wait until the agent of every server is connected."""
        deadline = time.monotonic() + seconds
        while silent := {web.name for web in self.webs} - self.connected():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not connected after {seconds:.0f} s: {silent}")
            time.sleep(0.1)

    def wait_until_over(self, seconds: float = 90) -> dict[str, Any]:
        """Return the status once the newest deployment is over."""
        return self.wait_for(
            "the end of the deployment", lambda status: bool(status["deployment"]["finished"]), seconds
        )

    def wait_until_host_is(self, name: str, *words: str) -> dict[str, Any]:
        """Return the status once a host stands where one of `words` says."""
        return self.wait_for(f"{name} to be {' or '.join(words)}", lambda now: host_status(now).get(name) in words)


def host_status(status: dict[str, Any]) -> dict[str, str]:
    """Return where each host stands in the newest deployment."""
    deployment = status["deployment"]
    return {host["name"]: host["status"] for host in deployment["hosts"]} if deployment else {}


def set_up(lab: Lab, cache: Cache, webs: int = 5, unreachable: str = "5%") -> Cluster:
    """Boot a controller and `webs` servers, found a cluster and let every server join it."""
    (control,) = lab.boot("control", layers=[debs.installed(cache, "clarion")])
    names = [f"web-{number}" for number in range(1, webs + 1)]
    servers = lab.boot(*names, layers=[debs.installed(cache, "clarion-agent")])
    cluster = Cluster(lab, control, servers)
    cluster.found(FLEET.format(unreachable=unreachable))
    for server in servers:
        cluster.join(server)
    cluster.wait_until_connected()
    return cluster


def _version(path: str) -> str:
    """Return the version in a release's folder name, "<release>-<version>"."""
    return path.strip().rpartition("/")[2].partition("-")[2]
