"""A whole rehearsal with real agents as processes of this machine: what works, what does not, what never happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from tests.controller.nightly.rehearsal_machines import OnThisMachine, Processes
from tests.ports import free_ports
from tests.stores import Cluster, cluster_in

from clarion_controller.build import build
from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import load_fleet, parse_fleet
from clarion_controller.fleet_toml.roles import INTEGRATION_APP
from clarion_controller.initialise import cluster_id
from clarion_controller.nightly.ending import NightOver
from clarion_controller.nightly.night import InForce, Night
from clarion_controller.nightly.rehearsal_cluster import Address
from clarion_controller.nightly.rehearse import rehearse
from clarion_controller.nightly.report import Check, Result
from clarion_controller.nightly.servers_place import place_for
from clarion_controller.publish import publish

pytestmark = [pytest.mark.once, pytest.mark.timeout(180)]

FLEET = """
[environment.production]
roles = ["web", "db"]

[role.web]
groups = ["front"]
apps = ["web"]

[role.db]
apps = ["db"]

[nightly]
server_deadline = "2m"

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

ONLY_WHERE_IT_WAS_BUILT = """python3 -c "import os; assert '/srv/' not in os.getcwd(), 'libpq is not here'\""""

AND_WAIT = """\
import subprocess, time
from pathlib import Path
from clarion_controller.nightly.rehearsal_cluster import Address, Rehearsal
from clarion_controller.nightly.rehearsal_process import serving
with serving(Rehearsal.found(Path({home!r}), "production", Address(*{at})), subprocess.Popen):
    print("serving", flush=True)
    time.sleep(60)
"""

WEB = "import time\nwhile True: time.sleep(1)\n"

CLARION = """\
[app]
name = "{app}"
units = ["{app}.service"]
[test]
package = ['''{test}''']
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

    def publish(self, app: str, program: str, version: str = "1.0.0", test: str = "true", port: str = "1") -> None:
        """Publish a version of an app in production."""
        source = self.cluster.folder / f"source-{app}-{version}"
        source.mkdir()
        files = {"serve.py": program, "clarion.toml": CLARION.format(app=app, test=test), "port": port}
        for name, text in files.items():
            (source / name).write_text(text)
        built = build(source, self.cluster.folder / "out", version)
        publish(self.cluster.home, built.package, built.manifest)

    def is_in_force(self, app: str, version: str) -> None:
        """Let production want a version."""
        others = [each for each in self.night.in_force if each.app != app]
        self.night = replace(self.night, in_force=(*others, InForce("production", app, version)))

    def rehearse(self, server_deadline: str = "") -> dict[str, Check]:
        """Return every check of the night by its name."""
        if server_deadline:
            fleet = (self.cluster.home / "fleet.toml").read_text().replace('"2m"', f'"{server_deadline}"')
            self.night = replace(self.night, fleet=parse_fleet(fleet))
        checks = rehearse(self.night, "production", OnThisMachine(self.machines).opened)
        assert len({check.name for check in checks}) == len(checks)
        for check in (each for each in checks if each.result is Result.BROKEN):
            print(check.name, check.reason, check.log, sep="\n")
        for log in self.machines.folder.glob("*/log"):  # for whoever looks for a reason
            print(log, log.read_text(errors="replace"), sep="\n")
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
        deadline=time.monotonic() + 150,
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


def results(checks: dict[str, Check]) -> dict[str, str]:
    """Return how each check ended."""
    return {name: check.result.value for name, check in checks.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, with what it holds."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def test_fresh_servers_take_what_is_in_force_without_a_key_of_production(stage: Stage) -> None:
    """Each role is made, joins, commits its own apps and no others; production's keys, and it itself, are not there."""
    home = stage.cluster.home
    cluster = cluster_id(home)
    shutil.rmtree(home / "keys")
    before = contents(home)
    checks = stage.rehearse()
    assert {name: (check.result, check.reason) for name, check in checks.items()} == {
        "server production/web": (Result.WORKS, "web 1.0.0"),
        "server production/db": (Result.WORKS, "db 1.0.0"),
        "integration web reaches the database in production": (Result.WORKS, ""),
        "integration the database greets in production": (Result.WORKS, ""),
    }
    assert set(checks["server production/db"].parts) == {"made", "joined", "committed"}
    current = {path.parent.name: path.resolve().name for path in stage.machines.folder.glob("db/srv/*/current")}
    assert list(current) == ["db"]
    assert set(stage.machines.introduced) == {"web", "db"}
    assert is_clean(stage)
    assert contents(home) == before
    known = contents(stage.machines.folder)
    assert any(name.endswith("record.json") for name in known)
    assert not [name for name, content in known.items() if cluster.encode() in content]


def test_a_service_on_another_port_breaks_the_integration_and_nothing_else(stage: Stage) -> None:
    """Both servers work; the check between them is named, with the address that refuses."""
    stage.publish("db", DATABASE, version="2.0.0", port=str(free_ports(1)[0]))
    stage.is_in_force("db", "2.0.0")
    checks = stage.rehearse()
    assert results(checks) == {
        "server production/web": "works",
        "server production/db": "works",
        "integration web reaches the database in production": "broken",
        "integration the database greets in production": "broken",
    }
    address = stage.machines.introduced["db"]
    assert checks["integration web reaches the database in production"].reason.startswith(f"web: tcp {address}:")
    assert "refused" in checks["integration web reaches the database in production"].reason
    assert "greet" not in checks["integration web reaches the database in production"].reason
    assert checks["integration the database greets in production"].reason.startswith(f"web: ./check {address}: exit")


def test_a_package_that_fails_its_tests_on_a_fresh_server_is_quoted(stage: Stage) -> None:
    """The stage, the reason and what the test printed are in the check; what lies between is skipped, not broken."""
    stage.publish("db", DATABASE, version="2.0.0", test=ONLY_WHERE_IT_WAS_BUILT)
    stage.is_in_force("db", "2.0.0")
    checks = stage.rehearse()
    db = checks["server production/db"]
    assert db.reason.startswith("db 2.0.0 failed at test: the tests of db 2.0.0 failed here: exit code 1")
    assert "libpq is not here" in db.log
    assert "the console of db" in db.log
    assert results(checks) == {
        "server production/web": "works",
        "server production/db": "broken",
        "integration web reaches the database in production": "skipped",
        "integration the database greets in production": "skipped",
    }
    assert is_clean(stage)


def test_a_server_that_never_joins_or_never_boots_does_not_keep_the_others(stage: Stage) -> None:
    """Each says its own stage; whoever can be deployed to is."""
    stage.machines.mute, stage.machines.broken = ["web"], ["db"]
    checks = stage.rehearse(server_deadline="3s")
    assert re.match(r"its agent did not join within \d s of its boot$", checks["server production/web"].reason)
    assert checks["server production/web"].log == "the console of web"
    db = checks["server production/db"]
    assert (db.reason, db.findings) == ("it could not be made: db did not come up:\nKernel panic", ("Look at it.",))
    assert db.log == ""
    assert is_clean(stage)


def test_bytes_that_are_not_those_that_were_published_are_not_rehearsed(stage: Stage) -> None:
    """A package that somebody changed in the store is found before its server is made; the other server is tried."""
    package = stage.cluster.home / "store" / "packages" / "db" / "db-1.0.0.tar.zst"
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    checks = stage.rehearse()
    assert results(checks) == {
        "server production/web": "works",
        "server production/db": "broken",
        "integration web reaches the database in production": "skipped",
        "integration the database greets in production": "skipped",
    }
    assert "db-1.0.0.tar.zst in the store is not what was published" in checks["server production/db"].reason
    assert set(stage.machines.introduced) == {"web"}
    assert is_clean(stage)


# httpcore leaves a socket that was refused to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_controller_that_dies_in_the_middle_breaks_the_rehearsal_with_its_last_words(stage: Stage) -> None:
    """All servers are broken, for this reason; and what was made is taken away."""

    def kill(line: str) -> None:
        if "deploying" in line:
            for process in psutil.Process().children():
                if "clarion_controller.nightly.rehearsal_serve" in process.cmdline():
                    process.kill()

    stage.night = replace(stage.night, log=kill)
    checks = stage.rehearse()
    servers = [check for name, check in checks.items() if name.startswith("server")]
    assert all("the rehearsal's controller has ended: " in check.reason for check in servers)
    assert all("controller.ready" in check.reason for check in servers)
    assert sorted(results(checks).values()) == ["broken", "broken", "skipped", "skipped"]
    assert is_clean(stage)


def test_a_night_that_is_over_takes_everything_away(stage: Stage) -> None:
    """The deadline in the middle ends every server and the rehearsal's controller, and goes on to the night's end."""

    def deadline(line: str) -> None:
        if "deploying" in line:
            assert stage.machines.alive
            raise NightOver("the deadline was reached")

    stage.night = replace(stage.night, log=deadline)
    with pytest.raises(NightOver):
        stage.rehearse()
    assert is_clean(stage)
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize(
    ("fleet", "in_force", "reason"),
    [
        pytest.param("[environment.production]\n", ("web",), "no role is named", id="no role"),
        pytest.param(FLEET.format(port=1), (), "nothing is in force there yet", id="nothing in force"),
        pytest.param(FLEET.format(port=1), (INTEGRATION_APP,), "nothing is in force there yet", id="only integrations"),
    ],
)
def test_nothing_to_rehearse_is_skipped_with_a_reason(
    stage: Stage, fleet: str, in_force: tuple[str, ...], reason: str
) -> None:
    """A skipped check is never silent, and nothing is made."""
    wanted = tuple(InForce("production", app, "1.0.0") for app in in_force)
    stage.night = replace(stage.night, fleet=parse_fleet(fleet), in_force=wanted)
    checks = stage.rehearse()
    assert {check.result for check in checks.values()} == {Result.SKIPPED}
    assert all(reason in check.reason for check in checks.values())


def test_the_controller_of_a_rehearsal_ends_with_a_night_that_is_killed(stage: Stage, short: Path) -> None:
    """Kill -9 of the night is the end of its controller's input, and so of the controller."""
    at = OnThisMachine(stage.machines).address
    script = AND_WAIT.format(home=str(short / "home"), at=(at.address, at.bind, at.first_port))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as night:
        assert night.stdout
        assert night.stdout.readline() == "serving\n"
        (controller,) = psutil.Process(night.pid).children()
        night.kill()
    controller.wait(20)


CLOUD = """
[nightly]
{nightly}
[environment.production]
roles = ["web", "db"]
[role.web]
aws = {{ region = "eu-west-1", image = "ami-1", instance_type = "t3.micro" }}
[role.db]
{db}
"""


@pytest.mark.parametrize(
    ("nightly", "db", "reason"),
    [
        pytest.param('address = "10.0.0.1"', "nspawn = {}", "do not reach each other", id="containers and a cloud"),
        pytest.param(
            "", 'aws = { region = "a", image = "b", instance_type = "c" }', "cannot find this", id="no address"
        ),
    ],
)
def test_a_place_that_cannot_be_is_said_of_every_server(stage: Stage, nightly: str, db: str, reason: str) -> None:
    """Before anything is made."""
    night = replace(stage.night, fleet=parse_fleet(CLOUD.format(nightly=nightly, db=db)))
    checks = rehearse(night, "production")
    assert [check.result for check in checks] == [Result.BROKEN] * 2
    assert all(reason in check.reason for check in checks)


def test_servers_of_a_cloud_come_to_the_address_that_fleet_toml_names(stage: Stage) -> None:
    """Four ports of this machine, on every interface; the controller runs here."""
    fleet = CLOUD.format(
        nightly='address = "10.0.0.1"\nport = 7500', db='aws = { region = "a", image = "b", instance_type = "c" }'
    )
    night = replace(stage.night, fleet=parse_fleet(fleet))
    with place_for(night, "production") as place:
        assert place.address == Address("10.0.0.1", "0.0.0.0", 7500)
        with place.start(["true"]) as process:
            assert process.wait(10) == 0
