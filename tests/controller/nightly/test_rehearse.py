"""A whole rehearsal with real agents as processes of this machine: what works, what does not, what never happens."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.controller.live import free_ports
from tests.controller.nightly.rehearsal_machines import OnThisMachine, Processes
from tests.stores import Cluster, cluster_in

from clarion_controller.build import build
from clarion_controller.cli.client import Controller
from clarion_controller.fleet import load_fleet
from clarion_controller.nightly.night import InForce, Night
from clarion_controller.nightly.rehearse import rehearse
from clarion_controller.nightly.report import Check, Result
from clarion_controller.publish import publish

FLEET = """
[environment.production]
roles = ["web", "db"]

[role.web]
groups = ["front"]
apps = ["web"]

[role.db]
apps = ["db"]

[nightly]
server_deadline = "40s"

[[integration]]
name = "web reaches the database"
from = "web"
to = "db"
tcp = {port}
timeout = "2s"

[[integration]]
name = "the database greets"
from = "web"
to = "db"
exec = "greet"
timeout = "5s"
"""

GREET = """\
#!/usr/bin/env python3
import socket, sys
hello = socket.create_connection((sys.argv[1], {port}), 2).recv(5)
sys.exit(0 if hello == b"hello" else "it says something else")
"""

DATABASE = """\
import os, socketserver, pathlib
class Hello(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello")
socketserver.ThreadingTCPServer.allow_reuse_address = True
address = (os.environ["ADDRESS"], int(pathlib.Path("port").read_text()))
socketserver.ThreadingTCPServer(address, Hello).serve_forever()
"""

WEB = "import time\nwhile True: time.sleep(1)\n"

CLARION = """\
[app]
name = "{app}"
units = ["{app}.service"]
[test]
package = ["{test}"]
[health]
min_healthy_time = "300ms"
healthy_deadline = "10s"
"""


@dataclass
class Stage:
    """Production as files, and a night over it."""

    cluster: Cluster
    night: Night
    machines: Processes
    lines: list[str]

    def publish(self, app: str, program: str, test: str = "true", **files: str) -> None:
        """Publish a version of an app in production."""
        source = self.cluster.folder / f"source-{app}"
        source.mkdir()
        for name, text in {"serve.py": program, "clarion.toml": CLARION.format(app=app, test=test), **files}.items():
            (source / name).write_text(text)
        built = build(source, self.cluster.folder / "out", "1.0.0")
        publish(self.cluster.home, built.package, built.manifest)

    def rehearse(self) -> dict[str, Check]:
        """Return every check of the night by its name."""
        checks = rehearse(self.night, "production", OnThisMachine(self.machines).opened)
        assert len({check.name for check in checks}) == len(checks)
        return {check.name: check for check in checks}


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder whose name is short enough for the sockets below it, and which nobody's agent is kept from."""
    with tempfile.TemporaryDirectory(prefix="night-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def stage(tmp_path: Path, short: Path) -> Stage:
    """Return a production with two apps in force; nobody serves it."""
    cluster = cluster_in(tmp_path, "production")
    port = free_ports(1)[0]
    (cluster.home / "fleet.toml").write_text(FLEET.format(port=port))
    (cluster.home / "greet").write_text(GREET.format(port=port))
    lines: list[str] = []
    night = Night(
        home=cluster.home,
        fleet=load_fleet(cluster.home / "fleet.toml"),
        controller=Controller(cluster.home / "run" / "controller.sock"),
        cluster="c" * 32,
        run="20261122-abcd",
        began=time.time(),
        deadline=time.monotonic() + 55,
        work=short / "work",
        in_force=tuple(InForce("production", app, "1.0.0") for app in ("web", "db")),
        log=lines.append,
    )
    night.work.mkdir()
    (short / "machines").mkdir()
    stage = Stage(cluster, night, Processes(short / "machines"), lines)
    stage.publish("web", WEB)
    stage.publish("db", DATABASE, port=str(port))
    return stage


def is_clean(stage: Stage) -> bool:
    """Return whether nothing is left of a rehearsal."""
    return not stage.machines.alive and not list(stage.night.work.iterdir())


def test_fresh_servers_take_what_is_in_force_and_find_each_other(stage: Stage) -> None:
    """Each role is made, joins, commits its own apps and no others; both integrations work; nothing is left."""
    checks = stage.rehearse()
    assert {name: (check.result, check.reason) for name, check in checks.items()} == {
        "server production/web": (Result.WORKS, ""),
        "server production/db": (Result.WORKS, ""),
        "integration web reaches the database in production": (Result.WORKS, ""),
        "integration the database greets in production": (Result.WORKS, ""),
    }
    assert set(checks["server production/db"].parts) == {"made", "joined", "committed"}
    current = {path.parent.name: path.resolve().name for path in stage.machines.folder.glob("db/srv/*/current")}
    assert current.pop("db").endswith("1.0.0")
    assert current == {}
    assert set(stage.machines.introduced) == {"web", "db"}
    assert is_clean(stage)
