"""One server of the demo: an agent, a supervisord instead of systemd, and the shop on a port of its own."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

from machine import BIN, Machine, Process, Surprise, run, wait_until

from clarion_agent.services.supervisord import Supervisord

SUPERVISORD = """\
[supervisord]
nodaemon = true
pidfile = {folder}/supervisord.pid
logfile = {folder}/supervisord.log
childlogdir = {folder}
identifier = {name}
[unix_http_server]
file = {folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://{folder}/supervisor.sock
[program:shop]
; started by the agent, as there is nothing to run before the first deployment
autostart = false
; the link is followed once, at the start: what runs is pinned to its release
directory = {apps}/shop/current
command = {python} shop.py
startsecs = 0
stopwaitsecs = 10
redirect_stderr = true
stdout_logfile = {folder}/shop.log
"""

AGENT = """\
state_dir = "{folder}/agent"
apps_root = "{apps}"
service_manager = "supervisord"
disk_reserve = "1MB"
# Three servers share one machine here, which may be one of a cloud.
cloud = "none"

[supervisord]
socket = "{folder}/supervisor.sock"

[app.shop]
units = ["shop.service"]
"""


class Server:
    """A server called `name`, whose shop listens on `port`."""

    def __init__(self, machine: Machine, name: str, port: int) -> None:
        self.name, self.port, self._machine = name, port, machine
        self.folder = machine.folder / name
        self.apps = self.folder / "srv"
        (self.apps / "shop").mkdir(parents=True)
        # Three servers share one loopback here, so each has its own port; see check() in shop.py.
        (self.apps / "shop" / "port").write_text(str(port))
        places = {"folder": self.folder, "apps": self.apps, "name": name, "python": BIN / "python"}
        (self.folder / "supervisord.conf").write_text(SUPERVISORD.format(**places))
        (self.folder / "agent.toml").write_text(AGENT.format(**places))

    def join(self, token: str) -> None:
        """Make this server one of the cluster, as a person would."""
        done = run(BIN / "clarion-agent", "--config", self.config, "join", token)
        if done.code:
            raise Surprise(f"{self.name} could not join: {done.err}{done.out}")

    def start(self) -> None:
        """Start the service manager and the agent."""
        conf = self.folder / "supervisord.conf"
        self._machine.start(f"supervisord-{self.name}", BIN / "supervisord", "-c", conf)
        wait_until(f"supervisord of {self.name}", (self.folder / "supervisor.sock").exists)
        command = (BIN / "clarion-agent", "--config", self.config, "run")
        self.agent: Process = self._machine.start(f"agent-{self.name}", *command)

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.folder / "agent.toml"

    def version(self) -> str:
        """Return which version answers, asked of the service itself; "" if none does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/version", timeout=2) as answer:
                return str(answer.read().decode().strip())
        except (OSError, urllib.error.URLError):
            return ""

    def current(self) -> str:
        """Return the release that `current` points to."""
        link = self.apps / "shop" / "current"
        return link.readlink().name if link.is_symlink() else ""

    def pid(self) -> int:
        """Return the process id of the shop: another one means that it was restarted."""
        return Supervisord(self.folder / "supervisor.sock").state("shop.service").main_pid

    def is_drained(self) -> bool:
        """Return whether this server keeps traffic away."""
        return (self.apps / "shop" / "draining").exists()

    def refusals(self) -> set[str]:
        """Return the codes of everything that the agent has refused, from its log."""
        lines = self.agent.log.read_text(errors="replace").splitlines()
        found = (re.search(r'code["=\': ]+(signal\.[a-z_]+)', line) for line in lines if "refused" in line)
        return {match[1] for match in found if match}
