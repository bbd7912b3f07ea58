"""What fleet.toml needs beside itself: whatever is not there is named with the key that needs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clarion_controller.fleet_toml.beside import doubts_of
from clarion_controller.fleet_toml.fleet import parse_fleet

FLEET = """
[environment.staging]
hosts = [{ inventory = "hosts.ini" }]
roles = ["web", "db"]
[role.web]
agent = "debs/agent.deb"
agent_config = "roles/web.agent.toml"
setup = "roles/web.sh"
[role.db]
[[integration]]
name = "web reaches the database"
from = "web"
to = "db"
exec = "checks/reach"
[repository.shop]
url = "https://git.example.net/acme/shop.git"
secret = "file:hook"
token = "env:CLARION_NO_SUCH_TOKEN"
[[notify]]
name = "chat"
slack = { url = "file:slack" }
"""
FILES = [
    "hosts.ini",
    "debs/agent.deb",
    "roles/web.agent.toml",
    "roles/web.sh",
    "checks/reach",
    "secrets/hook",
    "secrets/slack",
]
CLOUD = """
[environment.production]
roles = ["web"]
[role.web]
agent = "https://packages.example.net/agent.deb"
gcp = { project = "p", zone = "z", image = "i", machine_type = "m" }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which all of it is."""
    monkeypatch.setenv("CLARION_NO_SUCH_TOKEN", "hush")
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_where_all_is_there_nothing_is_said(home: Path) -> None:
    """A home as it should be."""
    assert list(doubts_of(parse_fleet(FLEET), home)) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hosts.ini", ("environment", "staging", "hosts", "0", "inventory")),
        ("debs/agent.deb", ("role", "web", "agent")),
        ("roles/web.agent.toml", ("role", "web", "agent_config")),
        ("roles/web.sh", ("role", "web", "setup")),
        ("checks/reach", ("integration", "0", "exec")),
        ("secrets/hook", ("repository", "shop", "secret")),
        ("secrets/slack", ("notify", "0", "slack", "url")),
    ],
)
def test_a_file_that_is_not_there_is_named(home: Path, name: str, key: tuple[str, ...]) -> None:
    """With the key that names it, and what the system says."""
    (home / name).unlink()
    said = f"{home / name} cannot be read: No such file or directory"
    assert list(doubts_of(parse_fleet(FLEET), home)) == [(said, key)]


def test_what_is_no_file_is_not_waited_for(home: Path) -> None:
    """A pipe would be, if it were opened."""
    (home / "roles/web.sh").unlink()
    os.mkfifo(home / "roles/web.sh")
    assert list(doubts_of(parse_fleet(FLEET), home)) == [
        (f"{home}/roles/web.sh is no file", ("role", "web", "setup")),
    ]


def test_a_secret_of_the_environment_is_missed_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is said, and nothing of any secret."""
    monkeypatch.delenv("CLARION_NO_SUCH_TOKEN")
    ((said, key),) = doubts_of(parse_fleet(FLEET), home)
    assert "env:CLARION_NO_SUCH_TOKEN is empty" in said
    assert key == ("repository", "shop", "token")


def test_roles_in_a_cloud_need_an_address_for_nights(tmp_path: Path) -> None:
    """Only those that an environment names: the others are for `clarion provision`."""
    ((said, key),) = doubts_of(parse_fleet(CLOUD), tmp_path)
    assert said.startswith("a night cannot make web: set address below [nightly]")
    assert key == ("environment", "production", "roles")
    assert not list(doubts_of(parse_fleet(CLOUD + '[nightly]\naddress = "192.0.2.1"\n'), tmp_path))
    assert not list(doubts_of(parse_fleet(CLOUD.replace('roles = ["web"]', "")), tmp_path))
