"""`clarion init`, `build`, `publish`, `packages`, `validate`: the verbs that work on files, with real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clarion_protocol.words import ExitCode

from .conftest import Terminal

EXAMPLES = Path(__file__).parent.parent.parent.parent / "examples"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return where a cluster may be made."""
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return an app's source."""
    return Path(shutil.copytree(EXAMPLES / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__")))


def test_from_nothing_to_a_published_package(terminal: Terminal, home: Path, source: Path, tmp_path: Path) -> None:
    """Each command names the next."""
    assert terminal.type("init", "--address", "deploy.example.net", "-e", "production", "-e", "staging") == 0
    assert "serve" in terminal.out
    assert str(home / "keys" / "root.key") in terminal.out
    assert terminal.type("validate") == 0
    out = tmp_path / "dist"
    assert terminal.type("build", str(source), "--version", "1.2.3", "--out", str(out)) == 0
    package = out / "shop-1.2.3.tar.zst"
    assert f"clarion publish {package}" in terminal.out
    assert terminal.type("publish", str(package)) == 0
    assert "clarion deploy shop 1.2.3 -e" in terminal.out
    assert terminal.type("packages") == 0
    assert "1.2.3" in terminal.out
    assert terminal.type("packages", "shop", "--json") == 0
    assert [(each["version"], each["release"]) for each in json.loads(terminal.out)] == [("1.2.3", 1)]


def test_an_environment_can_be_added_later(terminal: Terminal, home: Path) -> None:
    """Its policy is signed where the targets key is; fleet.toml stays a person's."""
    terminal.type("init", "--address", "127.0.0.1")
    assert terminal.type("init", "-e", "staging") == 0
    assert "[environment.staging]" in terminal.out
    assert terminal.type("init", "-e", "No Name") == ExitCode.USAGE


def test_publishing_again_says_that_it_was_published(terminal: Terminal, source: Path, tmp_path: Path) -> None:
    """It is no error, and no new release."""
    terminal.type("init", "--address", "127.0.0.1")
    terminal.type("build", str(source), "--version", "1", "--out", str(tmp_path))
    terminal.type("publish", str(tmp_path / "shop-1.tar.zst"))
    assert terminal.type("publish", str(tmp_path / "shop-1.tar.zst")) == 0
    assert "was published already as release 1" in terminal.out


def test_other_bytes_under_a_published_version_are_refused(terminal: Terminal, source: Path, tmp_path: Path) -> None:
    """The hint says to take a new version."""
    terminal.type("init", "--address", "127.0.0.1")
    terminal.type("build", str(source), "--version", "1", "--out", str(tmp_path))
    terminal.type("publish", str(tmp_path / "shop-1.tar.zst"))
    (source / "goods.json").write_text('{"tea": 1, "coffee": 2}')
    terminal.type("build", str(source), "--version", "1", "--out", str(tmp_path))
    assert terminal.type("publish", str(tmp_path / "shop-1.tar.zst")) == ExitCode.FAILED
    assert "with other bytes" in terminal.err


def test_packages_of_an_app_that_is_unknown_are_not_just_none(terminal: Terminal, source: Path, tmp_path: Path) -> None:
    """A typo is told from an empty store."""
    terminal.type("init", "--address", "127.0.0.1")
    assert terminal.type("packages") == 0
    terminal.type("build", str(source), "--version", "1", "--out", str(tmp_path))
    terminal.type("publish", str(tmp_path / "shop-1.tar.zst"))
    assert terminal.type("packages", "shpo", "--json") == ExitCode.USAGE
    assert "Did you mean shop?" in terminal.err
    assert terminal.out == ""


def test_a_package_that_is_cut_off_or_missing_is_called_by_its_name(
    terminal: Terminal, source: Path, tmp_path: Path
) -> None:
    """With the command that makes it whole."""
    terminal.type("init", "--address", "127.0.0.1")
    terminal.type("build", str(source), "--version", "1", "--out", str(tmp_path))
    package = tmp_path / "shop-1.tar.zst"
    package.write_bytes(package.read_bytes()[:-100])
    assert terminal.type("publish", str(package)) == ExitCode.FAILED
    assert f"error: {package} is not as it was built" in terminal.err
    assert "clarion build" in terminal.err
    package.unlink()
    assert terminal.type("publish", str(package)) == ExitCode.FAILED
    assert f"error: {package} does not exist" in terminal.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", "shop.zip"], "clarion build"),
        (["publish", "absent.tar.zst"], "clarion init"),
        (["packages"], "clarion init"),
        (["build", "absent", "--version", "1"], "Name the folder that holds clarion.toml"),
        (["init", "--address", "http://x/"], "without a port"),
        (["init"], "--address HOST"),
        (["init", "-e", "staging"], "--address HOST"),
        (["init", "--address", "x", "--name", "No Name"], "cannot be the name"),
        (["validate", "absent/clarion.toml"], "cannot be read"),
        (["validate", "notes.txt"], "no file that Clarion reads"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said_with_the_next_command(terminal: Terminal, arguments: list[str], said: str) -> None:
    """Nothing is changed by it."""
    assert terminal.type(*arguments) in (ExitCode.USAGE, ExitCode.FAILED)
    assert said in terminal.err


def test_validate_shows_every_mistake_of_every_file(terminal: Terminal, tmp_path: Path, home: Path) -> None:
    """With file, line and key."""
    (tmp_path / "clarion.toml").write_text('[app]\nname = "shop"\nunit = ["shop.service"]\n')
    (tmp_path / "fleet.toml").write_text("[cluster\n")
    files = [str(tmp_path / "clarion.toml"), str(tmp_path / "fleet.toml")]
    assert terminal.type("validate", *files, str(EXAMPLES / "shop" / "clarion.toml")) == ExitCode.USAGE
    assert "clarion.toml, line 3: app.unit: unknown key" in terminal.err
    assert 'Did you mean "units"?' in terminal.err
    assert "fleet.toml" in terminal.err
    assert "examples/shop/clarion.toml is valid." in terminal.out
