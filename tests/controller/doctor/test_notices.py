"""What the doctor finds of those who are told: secrets that are missing, or that others can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from clarion_controller.api.answers import Finding, Health
from clarion_controller.doctor import notices
from clarion_controller.doctor.notices import examine_notices
from clarion_controller.fleet_toml.fleet import parse_fleet
from clarion_controller.notifying.alone import alone
from clarion_controller.notifying.notices_file import DAMAGED, NAME
from clarion_controller.notifying.outbox import Changes, Outbox, Outgoing, Standing

FLEET = """
[[notify]]
name = "chat"
slack = { url = "file:slack" }

[[notify]]
name = "anything"
apprise = { url = "env:CLARION_TEST_APPRISE" }

[repository.shop]
url = "https://github.com/acme/shop.git"
secret = "file:hook"
token = "file:token"
credential = "file:credential"
"""
FILES = ("slack", "hook", "token", "credential")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a home with every secret in its place, from which people are told."""
    monkeypatch.setenv("CLARION_TEST_APPRISE", "json://127.0.0.1")
    monkeypatch.setattr(notices, "is_installed", lambda: True)
    (tmp_path / "secrets").mkdir()
    for name in FILES:
        (tmp_path / "secrets" / name).write_text("s3cret")
        (tmp_path / "secrets" / name).chmod(0o600)
    (tmp_path / "state").mkdir()
    with alone(tmp_path):
        yield tmp_path


def found(home: Path, text: str = FLEET) -> list[Finding]:
    """Return what is found."""
    return list(examine_notices(parse_fleet(text), home))


def test_all_is_well(home: Path) -> None:
    """Then it is one sentence, and how to see whether notices arrive."""
    (finding,) = found(home)
    assert finding.health is Health.OK
    assert "clarion notify test" in finding.hint


@pytest.mark.parametrize("name", FILES)
def test_a_secret_that_is_missing_or_open_is_a_warning(home: Path, name: str) -> None:
    """It is in the way of a notice, not of a deployment; the secret itself is not shown."""
    (home / "secrets" / name).chmod(0o644)
    (finding,) = found(home)
    assert (finding.health, "chmod o=" in finding.hint) == (Health.WARNING, True)
    (home / "secrets" / name).unlink()
    (finding,) = found(home)
    assert finding.health is Health.WARNING
    assert name in finding.sentence
    assert "s3cret" not in f"{finding}"


def test_a_variable_that_is_not_set_is_a_warning(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor looks in the controller's own environment."""
    monkeypatch.delenv("CLARION_TEST_APPRISE")
    (finding,) = found(home)
    assert "env:CLARION_TEST_APPRISE" in finding.sentence


def test_an_extra_that_is_not_installed_is_a_warning(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(notices, "is_installed", lambda: False)
    (finding,) = found(home)
    assert "pip install" in finding.hint


def test_a_forge_that_cannot_be_found_is_a_warning(home: Path) -> None:
    """A folder does not say where its forge is."""
    (finding,) = found(home, FLEET.replace("https://github.com/acme/shop.git", "/srv/git/shop.git"))
    assert "api and slug" in finding.hint


def test_nobody_to_tell_is_nothing_to_say(home: Path) -> None:
    """Most of what the doctor says should be about what there is."""
    assert not found(home, "[environment.production]\n")


def test_a_channel_that_takes_nothing_is_a_warning(home: Path) -> None:
    """With how much waits, why, and how to try it."""
    with closing(Outbox(home)) as outbox:
        outbox.advance(Changes(Standing(1, b"{}", b"{}"), [Outgoing("notify:chat", "1", b"{}", 0.0)]))
        waiting = outbox.first("notify:chat")
        assert waiting
        outbox.failed(waiting, "slack.example answers 403", 1.0)
    (finding,) = found(home)
    assert (finding.subject, finding.health) == ("notify chat", Health.WARNING)
    assert finding.sentence == "1 waiting: slack.example answers 403"
    assert "clarion notify test chat" in finding.hint


def test_an_outbox_that_was_begun_anew_is_a_warning_until_somebody_has_seen_it(home: Path) -> None:
    """What waited in it was lost; nobody would know otherwise."""
    (home / "state" / NAME).write_bytes(b"no database " * 1000)
    (damaged,) = found(home)
    assert (damaged.health, "cannot be used" in damaged.sentence) == (Health.WARNING, True)
    with capture_logs(), closing(Outbox(home)):
        pass
    (finding,) = found(home)
    assert (finding.health, "rm " in finding.hint) == (Health.WARNING, True)
    (home / "state" / DAMAGED).unlink()
    assert found(home)[0].health is Health.OK


def test_a_process_that_does_not_run_is_a_warning(tmp_path: Path) -> None:
    """Nobody would be told that nobody is told."""
    (tmp_path / "state").mkdir()
    told = parse_fleet('[[notify]]\nname = "chat"\nslack = { url = "file:slack" }\n')
    assert "does not run" in " ".join(finding.sentence for finding in examine_notices(told, tmp_path))
