"""What must answer between servers: as packages, and carried out by a real agent for `clarion integration`."""

from __future__ import annotations

import json
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.live import Live, live, new_cluster
from tests.controller.nightly.rehearsal_machines import Processes
from tests.ports import free_ports

from clarion_controller.api.answers import HostAnswer, InviteRequest
from clarion_controller.build import build
from clarion_controller.cli import run
from clarion_controller.cli.integration import members_of
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import HostSource, parse_fleet
from clarion_controller.fleet_toml.roles import Integration, Role
from clarion_controller.integration import applying, clarion_toml, source_of
from clarion_controller.nightly.integration import Member
from clarion_controller.provisioners.provisioner import FirstBoot, ServerOrder
from clarion_controller.publish import publish
from clarion_protocol.amounts import Duration
from clarion_protocol.app_config import ExecCheck, HttpCheck, TcpCheck, load_app_config
from clarion_protocol.errors import BadConfig
from clarion_protocol.words import is_version

pytestmark = pytest.mark.timeout(180)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def integration(**fields: Any) -> Integration:
    """Return an integration from web to db."""
    given: dict[str, Any] = {"name": "web reaches the database", "from_": "web", "to": "db", **fields}
    return Integration(**given)


@pytest.mark.parametrize(
    ("fields", "address", "check"),
    [
        pytest.param({"tcp": 5432}, "10.0.0.2", TcpCheck("10.0.0.2:5432"), id="a port"),
        pytest.param({"tcp": 5432}, "fd00::2", TcpCheck("[fd00::2]:5432"), id="a port over IPv6"),
        pytest.param({"http": "80"}, "db-1", HttpCheck("http://db-1:80"), id="a port that speaks HTTP"),
        pytest.param(
            {"http": "8080/health?deep=1", "status": 204, "contains": 'say "yes"'},
            "fd00::2",
            HttpCheck("http://[fd00::2]:8080/health?deep=1", 204, 'say "yes"'),
            id="a page, its status and its text",
        ),
    ],
)
def test_an_integration_is_a_health_check_with_the_real_address(
    fields: dict[str, Any], address: str, check: object
) -> None:
    """Each kind becomes the ordinary check of that kind."""
    config = load_app_config(clarion_toml(integration(**fields), [address]))
    assert config.health.checks == (check,)
    assert config.app.units == ()


def test_every_address_of_the_role_is_checked_within_the_time_of_the_integration() -> None:
    """Once each, in an order that does not depend on who listed them; healthy is who answered once."""
    config = load_app_config(clarion_toml(integration(tcp=1, timeout=Duration(7)), ["b", "a", "b"]))
    assert config.health.checks == (TcpCheck("a:1"), TcpCheck("b:1"))
    assert [float(config.health.healthy_deadline), float(config.health.min_healthy_time)] == [7.0, 0.0]


@given(name=TEXT, contains=TEXT, status=st.integers(100, 599))
def test_whatever_fleet_toml_may_say_is_written_so_that_a_host_reads_the_same(
    name: str, contains: str, status: int
) -> None:
    """Quotes, control characters and other languages in names and texts break nothing, and every version is one."""
    wanted = integration(name=name, http="80/", status=status, contains=contains)
    config = load_app_config(clarion_toml(wanted, ["a"]))
    assert config.health.checks == (HttpCheck("http://a:80/", status, contains),)
    assert is_version(source_of(wanted, ["a"], Path("/")).version)


def test_the_version_is_that_of_the_content(tmp_path: Path) -> None:
    """The same checks have the same version and bytes; another address or program has another."""
    (tmp_path / "check").write_text("#!/bin/sh\n")
    source = source_of(integration(exec="check"), ["b", "a"], tmp_path)
    assert source.version.startswith("web-reaches-the-database-")
    again = source_of(integration(exec="check"), ["a", "b"], tmp_path)
    assert source.build(tmp_path / "one").sha256 == again.build(tmp_path / "two").sha256
    (tmp_path / "check").write_text("#!/bin/sh\nexit 1\n")
    other = source_of(integration(exec="check"), ["b", "a"], tmp_path)
    moved = source_of(integration(exec="check"), ["b", "c"], tmp_path)
    assert len({source.version, other.version, moved.version}) == 3


def test_a_program_is_called_with_the_address_and_nothing_of_it_is_a_command(tmp_path: Path) -> None:
    """An address with a space in it stays one argument."""
    (tmp_path / "check").write_text("#!/bin/sh\n")
    config = load_app_config(clarion_toml(integration(exec="check"), ["a b; reboot"]))
    (check,) = config.health.checks
    assert isinstance(check, ExecCheck)
    assert check.exec.argv == ["./check", "a b; reboot"]


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_a_program_that_is_not_there_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Before anything is published."""
    if content is not None:
        (tmp_path / "check").write_bytes(content)
    with pytest.raises(BadConfig, match=f"{tmp_path}/check"):
        source_of(integration(exec="check"), ["a"], tmp_path)


ROLES = """
[environment.production]
roles = ["web"]
[environment.staging]
roles = ["web", "db"]
[role.web]
groups = ["web", "eu"]
[role.db]
groups = ["db"]
[[integration]]
name = "everywhere"
from = "web"
to = "db"
tcp = 1
[[integration]]
name = "only there"
from = "web"
to = "web"
tcp = 1
environments = ["production"]
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param("only there", "everywhere", r"integration\.1\.name: there is already a 'everywhere'", id="twice"),
        pytest.param("tcp = 1", 'tcp = 1\ntimeout = "0s"', r"integration\.0\.timeout: nothing", id="no time"),
        pytest.param("tcp = 1", 'exec = "keys/deployer.key"', r"exec: name a program inside the home", id="a key"),
        pytest.param("tcp = 1", 'exec = "./keys/root.key"', r"exec: name a program inside the home", id="a hidden one"),
        pytest.param("tcp = 1", 'exec = "checks/../keys/root.key"', r"exec: name a program inside", id="a detour"),
        pytest.param("tcp = 1", 'exec = "/etc/shadow"', r"exec: name a program inside the home", id="outside"),
    ],
)
def test_what_cannot_be_checked_is_found_when_fleet_toml_is_read(old: str, new: str, problem: str) -> None:
    """Names are told apart by a night, and no slip hands a secret of this machine to hosts."""
    with pytest.raises(BadConfig, match=problem):
        parse_fleet(ROLES.replace(old, new))


def test_an_integration_applies_where_both_roles_are_or_where_it_says_so() -> None:
    """Naming environments narrows it down, and lets it be where a night makes no such servers."""
    fleet = parse_fleet(ROLES)
    assert [each.name for each in applying(fleet, "staging")] == ["everywhere"]
    assert [each.name for each in applying(fleet, "production")] == ["only there"]


def test_a_host_has_a_role_if_it_has_all_its_groups() -> None:
    """Its first address counts, else its name; who is not listed any more is nobody."""

    def host(name: str, groups: list[str], **fields: Any) -> HostAnswer:
        return HostAnswer(
            **{"is_discovered": True, "is_enrolled": True, "is_connected": True, **fields},
            name=name,
            environment="staging",
            groups=groups,
        )

    members = members_of(
        {"web": Role(groups=("web", "eu")), "any": Role()},
        [
            host("web-1", ["eu", "web"], addresses=["10.0.0.1", "8.8.8.8"]),
            host("web-2", ["web"], is_enrolled=False),
            host("gone", ["web", "eu"], is_discovered=False),
        ],
    )
    assert members["web"] == [Member("web-1", "10.0.0.1")]
    assert members["any"] == [Member("web-1", "10.0.0.1"), Member("web-2", "web-2", has_agent=False)]


FLEET = """
[environment.staging]
hosts = [{{ inventory = "hosts.ini" }}]
roles = ["web", "db"]
[environment.production]
[role.web]
groups = ["web"]
[role.db]
groups = ["db"]
[[integration]]
name = "web reaches the database"
from = "web"
to = "db"
tcp = {port}
timeout = "2s"
[[integration]]
name = "the program says so"
from = "web"
to = "db"
exec = "check"
timeout = "2s"
[[integration]]
name = "web sees itself"
from = "web"
to = "web"
exec = "check"
timeout = "2s"
"""

LISTED = [
    Discovered(name="web-1", source="inventory", groups=("web",), addresses=("127.0.7.1",)),
    Discovered(name="db-1", source="inventory", groups=("db",), addresses=("127.0.7.99",)),
]


class Staging:
    """An environment with a real agent on web-1, a database that listens or not, and what the inventory lists."""

    def __init__(self, controller: Live, machines: Processes, listed: list[Discovered], port: int) -> None:
        self.controller, self.machines, self.listed, self._port = controller, machines, listed, port

    def listening(self) -> closing[socket.socket]:
        """Let the database listen within a `with` block."""
        return closing(socket.create_server(("127.0.7.99", self._port)))

    def clarion(self, *arguments: str) -> int:
        """Type a command and return its exit code."""
        return run([*arguments, "--home", str(self.controller.home)])


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that a command wrote, without those that the controller of this process has logged."""
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("20")]


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    """Yield it: two listed hosts, one of which has joined."""
    port = free_ports(1)[0]
    cluster = new_cluster(tmp_path, FLEET.format(port=port))
    (cluster.home / "check").write_text("#!/bin/sh\necho asked $1\n")
    listed = [*LISTED]

    async def ask(_source: HostSource, _home: Path) -> list[Discovered]:
        return listed

    with tempfile.TemporaryDirectory(prefix="staging-") as folder, live(cluster.home, ask) as controller:
        Path(folder).chmod(0o755)
        machines = Processes(Path(folder))
        token = controller.client.invite(InviteRequest(environment="staging", name="web-1")).token
        machine = machines.create(ServerOrder("web-1", Role(), FirstBoot(token)))
        controller.await_on_loop(lambda: controller.desk.discovery.refresh("staging"))
        yield Staging(controller, machines, listed, port)
        machines.remove(machine)


def test_agents_say_what_works_and_what_is_broken(staging: Staging, capsys: pytest.CaptureFixture[str]) -> None:
    """Works, breaks, works again; what broke is named with the reason, and the host takes other deployments as ever."""
    with staging.listening():
        assert staging.clarion("integration", "-e", "staging", "--yes") == 0
    assert said(capsys) == [
        "works    web reaches the database",
        "works    the program says so",
        "works    web sees itself",
    ]

    assert staging.clarion("integration", "-e", "staging", "--yes") == 1
    broken, why, *works = said(capsys)
    assert broken == "broken   web reaches the database"
    assert re.fullmatch(r" {9}web-1: tcp 127\.0\.7\.99:\d+: Connection refused", why)
    assert works == ["works    the program says so", "works    web sees itself"]

    releases = staging.machines.folder / "web-1" / "srv" / "clarion-integration" / "releases"
    assert len(list(releases.iterdir())) == 2
    publish_web(staging)
    assert staging.clarion("deploy", "web", "1.0.0", "-e", "staging", "--hosts", "web-1", "--yes") == 0
    capsys.readouterr()

    with staging.listening():
        assert staging.clarion("integration", "-e", "staging", "--yes", "--json") == 0
    checks = json.loads("".join(said(capsys)))
    assert [check["result"] for check in checks] == ["works"] * 3


def publish_web(staging: Staging) -> None:
    """Publish an app that restarts nothing."""
    source = staging.controller.home.parent / "source"
    source.mkdir()
    (source / "clarion.toml").write_text('[app]\nname = "web"\n[health]\nmin_healthy_time = "0s"\n')
    built = build(source, staging.controller.home.parent / "out", "1.0.0")
    publish(staging.controller.home, built.package, built.manifest)


def test_without_a_yes_nothing_is_signed(staging: Staging, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody at the terminal means no; and an environment without integrations says how to add one."""
    assert staging.clarion("integration", "-e", "staging") == 2
    assert "Add --yes" in capsys.readouterr().err
    assert staging.clarion("integration", "-e", "production", "--yes") == 2
    assert "no [[integration]] of fleet.toml applies to production" in capsys.readouterr().err
    assert staging.controller.client.deployments() == []


def test_a_role_whose_hosts_have_no_agent_is_skipped(staging: Staging, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody can look from there, which is no failure of what lies between."""
    path = staging.controller.home / "fleet.toml"
    path.write_text(path.read_text().replace('from = "web"', 'from = "db"'))
    assert staging.clarion("integration", "-e", "staging", "--yes") == 0
    assert "skipped  web reaches the database" in capsys.readouterr().out


def test_a_host_that_cannot_look_is_not_counted_as_one_that_works(
    staging: Staging, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the role has no agent: it is named, and the others' word does not stand for it."""
    staging.listed.append(Discovered(name="web-2", source="inventory", groups=("web",), addresses=("127.0.7.2",)))
    staging.controller.await_on_loop(lambda: staging.controller.desk.discovery.refresh("staging"))
    with staging.listening():
        assert staging.clarion("integration", "-e", "staging", "--yes") == 1
    assert said(capsys)[:2] == ["broken   web reaches the database", "         web-2: no agent has joined there"]
