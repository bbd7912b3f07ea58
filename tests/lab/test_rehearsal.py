"""`clarion nightly` with nothing replaced: real servers from nothing, made by nspawn from today's packages.

Production is a live controller with simulated hosts. A night builds a web server and a database, installs the agent's
package on both, has them join, and lets them take what is in force; the web server shows what the database says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.controller.live import Live, live, new_cluster

from clarion_controller.api.answers import PlanRequest
from clarion_controller.build import build
from clarion_controller.initialise import add_environment
from clarion_controller.provisioners.nspawn import PLACE
from clarion_controller.publish import publish
from clarion_protocol.documents import Running
from clarion_protocol.words import HostStatus

from . import debs
from .cache import Cache

pytestmark = pytest.mark.timeout(900)

NIGHTLY = [sys.executable, "-c", "import sys; from clarion_controller.cli import main; sys.exit(main())", "nightly"]
SERVERS = ("--only", "servers", "--json")

FLEET = """
[environment.empty]

[environment.production]
roles = ["web", "db"]

[environment.staging]
roles = ["web", "db"]

[role.web]
apps = ["web"]
agent = "{agent}"
agent_config = "agent.toml"
setup = "setup"

[role.db]
apps = ["db"]
agent = "{agent}"
agent_config = "agent.toml"
setup = "setup"

[[integration]]
name = "web reaches the database"
from = "web"
to = "db"
tcp = 5432
timeout = "3s"

[[integration]]
name = "the front page shows what the database says"
from = "db"
to = "web"
http = "8080/"
contains = "hello"
timeout = "3s"
"""

AGENT = '[app.web]\nunits = ["web.service"]\n[app.db]\nunits = ["db.service"]\n'

SETUP = """\
#!/bin/sh
set -e
for app in web db; do
    cat > /etc/systemd/system/$app.service <<UNIT
[Unit]
ConditionPathExists=/srv/clarion/$app/current
[Service]
WorkingDirectory=/srv/clarion/$app/current
ExecStart=/usr/bin/python3 serve.py
DynamicUser=yes
UNIT
done
"""

DATABASE = """\
import pathlib, socketserver
class Hello(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello")
socketserver.ThreadingTCPServer(("0.0.0.0", int(pathlib.Path("port").read_text())), Hello).serve_forever()
"""

WEB = """\
import http.server, socket
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = socket.create_connection(("db", 5432), 2).recv(5)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"it says " + said)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Page).serve_forever()
"""

CLARION = """\
[app]
name = "{app}"
units = ["{app}.service"]
[health]
min_healthy_time = "500ms"
healthy_deadline = "20s"
[[health.check]]
tcp = "127.0.0.1:{port}"
"""


class Production:
    """A live controller whose hosts are simulated, and the nights over it."""

    def __init__(self, folder: Path, controller: Live) -> None:
        self.folder, self.controller = folder, controller
        self.hosts = {name: controller.enrol(f"{name}-1", name) for name in ("production", "staging")}

    def publish(self, app: str, version: str, program: str, port: int) -> None:
        """Build and publish a version of an app that serves at `port`."""
        source = self.folder / f"{app}-{version}"
        source.mkdir()
        files = {"serve.py": program, "port": str(port), "clarion.toml": CLARION.format(app=app, port=port)}
        for name, text in files.items():
            (source / name).write_text(text)
        built = build(source, self.folder / "out", version)
        publish(self.controller.home, built.package, built.manifest)

    def run(self, environment: str, app: str, version: str) -> None:
        """Have the environment's host commit a version: from now on it is in force."""
        client, host = self.controller.client, self.hosts[environment]
        plan = client.plan(PlanRequest(app=app, environment=environment, version=version))
        client.order(plan.deployment.sealed(self.controller.deployer))
        document = plan.deployment
        runs = Running(app, version, document.release, document.sha256, is_active=True)
        for status in (HostStatus.STAGED, HostStatus.COMMITTED):
            self.controller.turn(host.says(time.time(), document, status, runs))

    def begin_night(self, *options: str) -> subprocess.Popen[str]:
        """Begin a night as cron does."""
        command = [*NIGHTLY, "--home", str(self.controller.home), *SERVERS, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def production(tmp_path: Path, cache: Cache) -> Iterator[Production]:
    """Yield a production."""
    with production_in(tmp_path, cache) as production:
        yield production


@contextmanager
def production_in(folder: Path, cache: Cache) -> Iterator[Production]:
    """Run a production: two apps that work in one environment; in the other the database has moved."""
    agent = next(debs.build(cache).glob("clarion-agent_*.deb"))
    cluster = new_cluster(folder, FLEET.format(agent=agent))
    add_environment(cluster.home, "empty")
    (cluster.home / "agent.toml").write_text(AGENT)
    (cluster.home / "setup").write_text(SETUP)
    with live(cluster.home) as controller:
        production = Production(folder, controller)
        production.publish("web", "1.0.0", WEB, 8080)
        production.publish("db", "1.0.0", DATABASE, 5432)
        production.publish("db", "2.0.0", DATABASE, 6432)
        for environment, db in (("production", "1.0.0"), ("staging", "2.0.0")):
            production.run(environment, "web", "1.0.0")
            production.run(environment, "db", db)
        yield production


def test_servers_from_nothing_run_what_is_in_force_and_what_lies_between_is_checked(production: Production) -> None:
    """Where all is well every check works; where the database moved to another port, what lies between is broken."""
    night = production.begin_night()
    out, said = night.communicate(timeout=800)
    assert night.returncode == 1, said
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    broken = {name: check["reason"] for name, check in checks.items() if check["result"] == "broken"}
    assert set(broken) == {
        "integration web reaches the database in staging",
        "integration the front page shows what the database says in staging",
    }, (broken, said)
    assert "5432: Connection refused" in broken["integration web reaches the database in staging"]
    works = {name for name, check in checks.items() if check["result"] == "works"}
    assert works >= {
        "server production/web",
        "server production/db",
        "server staging/web",
        "server staging/db",
        "integration web reaches the database in production",
        "integration the front page shows what the database says in production",
    }
    assert set(checks["server production/db"]["parts"]) >= {"rootfs", "agent", "boot", "joined", "committed"}
    assert leftovers(production) == []


def leftovers(production: Production) -> list[str]:
    """Return what is left on this machine of this cluster's nights: folders, mounts, control groups."""
    cluster = production.controller.desk.cluster.id
    folders = [*PLACE.glob(f"{cluster}-*"), *Path("/var/tmp").glob(f"clarion-nightly-{cluster[:12]}-*")]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if cluster[:12] in line]
    groups = Path("/sys/fs/cgroup").rglob(f"clarion-night-*{cluster}*")
    return [*map(str, folders), *mounts, *map(str, groups)]


def test_a_night_that_is_killed_leaves_no_server_and_the_next_one_tidies_up(production: Production) -> None:
    """Kill -9 with both servers running ends every process, and no mount stays; the next night says what it took."""
    night = production.begin_night("-e", "production")
    assert night.stderr
    assert any("deploying" in line for line in night.stderr)
    family = psutil.Process(night.pid).children(recursive=True)
    assert sum(process.name() == "systemd" for process in family) == 2
    night.kill()
    night.communicate(timeout=20)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process.name() for process in alive] == []
    left = leftovers(production)
    assert not [each for each in left if " " in each], left  # a line of /proc/self/mounts

    after = production.begin_night("-e", "empty")
    out, said = after.communicate(timeout=200)
    (swept,) = (check for check in json.loads(out)["checks"] if check["name"] == "sweep")
    assert f"folder {PLACE}" in " ".join(swept["findings"]), (out, said)
    assert leftovers(production) == []
