"""`clarion notify` as people and programs see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.controller.notifiers.fake_pagerduty import KEY, FakePagerDuty
from tests.controller.notifiers.fake_slack import FakeSlack
from tests.controller.notifiers.listening import answer, listening

from clarion_controller.cli.notify import gets
from clarion_controller.fleet_toml.channels import Channel, Slack
from clarion_controller.fleet_toml.table import Secret
from clarion_controller.notice import Kind, Severity
from clarion_protocol.words import ExitCode

from .conftest import Terminal

CHANNELS = """
[environment.production]

[[notify]]
name = "chat"
slack = { url = "file:slack" }
min_severity = "warning"
environments = ["production"]

[[notify]]
name = "pager"
pagerduty = { routing_key = "file:pager", url = "PAGER" }
"""


@pytest.fixture
def secrets(home: Path) -> Path:
    """Return the folder of the home's secrets."""
    folder = home / "secrets"
    folder.mkdir()
    (home / "state").mkdir()
    return folder


def put(folder: Path, name: str, value: str, mode: int = 0o600) -> None:
    """Write a secret."""
    (folder / name).write_text(f"{value}\n")
    (folder / name).chmod(mode)


def test_each_channel_is_told_now(home: Path, secrets: Path, terminal: Terminal) -> None:
    """And says whether it took it; nobody stays paged."""
    slack, pager = FakeSlack(), FakePagerDuty()
    with listening(slack) as chat, listening(pager) as paging:
        put(secrets, "slack", f"{chat.url}/services/x")
        put(secrets, "pager", KEY)
        (home / "fleet.toml").write_text(CHANNELS.replace("PAGER", f"{paging.url}/v2/enqueue"))
        assert terminal.type("notify", "test") == ExitCode.COMMITTED
    assert terminal.out.splitlines() == ["ok      chat   slack", "ok      pager  pagerduty"]
    assert len(slack.messages) == 1
    assert (len(pager.events), pager.open) == (2, [])


def test_what_did_not_arrive_says_why_and_what_to_do(home: Path, secrets: Path, terminal: Terminal) -> None:
    """The others are told all the same."""
    with listening(answer(404, "no_service")) as chat, listening(FakePagerDuty()) as paging:
        put(secrets, "slack", f"{chat.url}/services/Xk29ZnQ8v7")
        put(secrets, "pager", KEY)
        (home / "fleet.toml").write_text(CHANNELS.replace("PAGER", f"{paging.url}/v2/enqueue"))
        assert terminal.type("notify", "test") == ExitCode.FAILED
    assert "failed  chat   slack: 127.0.0.1 answers 404: no_service" in terminal.out
    assert "correct [[notify]] chat in fleet.toml, or its secret" in terminal.out
    assert "ok      pager" in terminal.out
    assert "1 of 2 did not hear it: chat" in terminal.err
    assert "Xk29ZnQ8v7" not in terminal.out + terminal.err


def test_only_whom_one_names(home: Path, secrets: Path, terminal: Terminal) -> None:
    """Each once; a name that does not exist is no silence."""
    slack = FakeSlack()
    with listening(slack) as chat:
        put(secrets, "slack", f"{chat.url}/services/x")
        (home / "fleet.toml").write_text(CHANNELS.replace("PAGER", "https://192.0.2.1"))
        assert terminal.type("notify", "test", "chat", "chat") == ExitCode.COMMITTED
        assert len(slack.messages) == 1
        assert terminal.type("notify", "test", "chatt") == ExitCode.USAGE
    assert "Did you mean chat?" in terminal.err


@pytest.mark.parametrize(("mode", "said"), [(0o644, "chmod o="), (None, "cannot be read")])
def test_a_secret_that_is_wrong_is_named(
    home: Path, secrets: Path, terminal: Terminal, mode: int | None, said: str
) -> None:
    """With the command that puts it right."""
    if mode:
        put(secrets, "slack", "https://192.0.2.1/x", mode)
    (home / "fleet.toml").write_text(CHANNELS.replace("PAGER", "https://192.0.2.1"))
    assert terminal.type("notify", "test", "chat") == ExitCode.FAILED
    assert said in terminal.out


def test_nobody_to_tell(home: Path, terminal: Terminal) -> None:
    """Is no failure, and says where somebody would be named."""
    (home / "fleet.toml").write_text("[environment.production]\n")
    for words in (["notify"], ["notify", "test"]):
        assert terminal.type(*words) == ExitCode.COMMITTED
        assert "[[notify]]" in terminal.err


def test_everybody_who_is_told_is_listed(home: Path, secrets: Path, terminal: Terminal) -> None:
    """With what they get, for people and for programs."""
    forge = '[repository.shop]\nurl = "https://github.com/acme/shop.git"\ntoken = "file:token"\n'
    (home / "fleet.toml").write_text(CHANNELS.replace("PAGER", "https://192.0.2.1") + forge)
    assert terminal.type("notify") == ExitCode.COMMITTED
    for said in ("everything from warning on in production", "pagerduty", "never", "builds and deployments", "github"):
        assert said in terminal.out
    assert max(map(len, terminal.out.splitlines())) <= 80  # a channel and a sentence below it, on any terminal
    assert terminal.type("notify", "--json") == ExitCode.COMMITTED
    assert [each["name"] for each in json.loads(terminal.out)] == ["chat", "pager", "forge:shop"]
    assert not (home / "state" / "notices.db").exists()


def test_what_a_channel_gets_is_said_in_words() -> None:
    """As its filters say."""
    channel = Channel(name="x", slack=Slack(Secret("file:x")), kinds=(Kind.AGENT_LOST, Kind.AGENT_BACK))
    assert gets(channel) == "agent_lost, agent_back"
    assert gets(Channel(name="x", min_severity=Severity.ERROR)) == "everything from error on"
