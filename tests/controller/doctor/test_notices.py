"""What the doctor finds of those who are told: secrets that are missing, or that others can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_controller.api.answers import Finding, Health
from clarion_controller.doctor import notices
from clarion_controller.doctor.notices import examine_notices
from clarion_controller.fleet_toml.fleet import parse_fleet

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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with every secret in its place."""
    monkeypatch.setenv("CLARION_TEST_APPRISE", "json://127.0.0.1")
    monkeypatch.setattr(notices, "is_installed", lambda: True)
    (tmp_path / "secrets").mkdir()
    for name in FILES:
        (tmp_path / "secrets" / name).write_text("s3cret")
        (tmp_path / "secrets" / name).chmod(0o600)
    return tmp_path


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
