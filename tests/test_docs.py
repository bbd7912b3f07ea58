"""The documentation is whole and true: verbs, options, settings, exit codes, statuses, links, examples, hints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from clarion_agent import config as agent_config
from clarion_agent.config import Config
from clarion_controller.cli.verbs import all_verbs, load
from clarion_controller.fleet_toml import fleet
from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.fleet_toml.fleet import Fleet, parse_fleet
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.fleet_toml.roles import Integration, Nightly, Role
from clarion_protocol import app_config
from clarion_protocol.amounts import Duration, Size
from clarion_protocol.app_config import AppConfig, load_app_config
from clarion_protocol.toml_file import read_toml
from clarion_protocol.words import DeploymentStatus, ExitCode, HostStatus

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]
PROGRAMS = {"clarion"}
EVERYWHERE = {"--home", "--api", "--help", "--version"}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def commands() -> dict[str, Any]:
    """Return every command by the words that are typed for it, subcommands too."""
    found: dict[str, Any] = {}
    for name in all_verbs():
        command = typer.main.get_command(load(name))
        found[name] = command
        found.update({f"{name} {sub}": each for sub, each in getattr(command, "commands", {}).items()})
    return found


COMMANDS = commands()


def options_of(command: Any) -> set[str]:
    """Return the options that a command takes, each by every name."""
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("-")}


def section(page: Path, title: str) -> str:
    """Return what stands on a page below a title, up to the next title."""
    parts = re.split(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert title in sections, f"{page.name} has no section {title!r}"
    return sections[title]


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def typed_commands() -> Iterator[tuple[str, str]]:
    """Yield where and what, for each `clarion ...` that a page or a message tells somebody to type."""
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in re.findall(r"^\$ (?:sudo -u clarion )?(clarion .*)$", block, flags=re.MULTILINE):
                yield str(page.relative_to(ROOT)), line
    for source in [*ROOT.glob("agent/clarion_*/**/*.py"), *ROOT.glob("controller/clarion_*/**/*.py")]:
        for line in re.findall(r"'(clarion [^'\n]+)'", source.read_text()):
            yield str(source.relative_to(ROOT)), line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_verb_and_every_option_is_documented(name: str) -> None:
    """In its own section of the reference."""
    text = section(DOCS / "reference" / "cli.md", name)
    missing = {option for option in options_of(COMMANDS[name]) - {"--help"} if not re.search(rf"{option}\b", text)}
    assert not missing


def test_no_verb_is_documented_that_does_not_exist() -> None:
    """A verb that goes takes its section with it."""
    titles = re.findall(r"^### (.+)$", (DOCS / "reference" / "cli.md").read_text(), flags=re.MULTILINE)
    assert set(titles) == set(COMMANDS)


@pytest.mark.parametrize(("where", "line"), sorted(set(typed_commands())), ids=str)
def test_every_command_that_somebody_is_told_to_type_exists(where: str, line: str) -> None:
    """Also those that error messages name as the next step."""
    words = [word for word in line.split()[1:] if not word.startswith("{")]
    if not words or words[0] in {*EVERYWHERE, "VERB", "..."} or words[0].startswith("--"):
        return
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    assert name in COMMANDS, f"{where}: {line}"
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert options <= options_of(COMMANDS[name]) | EVERYWHERE, f"{where}: {line}"


TABLES = [
    ("clarion-toml.md", "[app]", app_config.App),
    ("clarion-toml.md", "[build]", app_config.Build),
    ("clarion-toml.md", "[test]", app_config.Test),
    ("clarion-toml.md", "[drain]", app_config.Drain),
    ("clarion-toml.md", "[health]", app_config.Health),
    ("clarion-toml.md", "[[health.check]]", app_config.CheckTable),
    ("fleet-toml.md", "[cluster]", fleet.Cluster),
    ("fleet-toml.md", "[controller]", fleet.Controller),
    ("fleet-toml.md", "[store]", fleet.Store),
    ("fleet-toml.md", "[environment.NAME]", fleet.Environment),
    ("fleet-toml.md", "[[environment.NAME.hosts]]", fleet.HostSource),
    ("fleet-toml.md", "aws", fleet.Aws),
    ("fleet-toml.md", "gcp", fleet.Gcp),
    ("fleet-toml.md", "azure", fleet.Azure),
    ("fleet-toml.md", "[environment.NAME.strategy]", fleet.Strategy),
    ("fleet-toml.md", "[repository.NAME]", Repository),
    ("fleet-toml.md", "[[notify]]", Channel),
    ("fleet-toml.md", "[role.NAME]", Role),
    ("fleet-toml.md", "[[integration]]", Integration),
    ("fleet-toml.md", "[nightly]", Nightly),
    ("agent-toml.md", "agent.toml", Config),
    ("agent-toml.md", "[supervisord]", agent_config.Supervisord),
    ("agent-toml.md", "[app.NAME]", agent_config.AppRules),
]


def settings_of(table: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the keys of a table with their defaults, without those that are tables themselves."""
    nested = {"environment", "supervisord", "strategy", "check", "app", "cluster", "controller"}
    whole = {Role: set(), Repository: set()}.get(table, nested)
    return {field.encode_name: field.default for field in msgspec.structs.fields(table) if field.name not in whole}


def written(default: Any) -> str:
    """Return a default as TOML writes it, or "" where the page says it in words."""
    if default in (None, msgspec.NODEFAULT):
        return ""
    if isinstance(default, Size):
        return f'"{default // 2**30}GiB"'
    if isinstance(default, (str, Duration)):
        text = default.value if hasattr(default, "value") else str(default)
        return f'"{text}"'
    if isinstance(default, tuple):
        return str(list(default)).replace("'", '"')
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize(("page", "title", "table"), TABLES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_setting_is_documented_with_its_default(page: str, title: str, table: type[msgspec.Struct]) -> None:
    """And no setting that does not exist."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (.*?) \|", section(DOCS / "reference" / page, title), flags=re.MULTILINE)
    documented = {name: default.strip("` ") for name, default in rows}
    settings = settings_of(table)
    assert set(documented) == set(settings)
    assert {name: documented[name] for name in settings if written(settings[name])} == {
        name: written(default) for name, default in settings.items() if written(default)
    }


def test_every_exit_code_is_documented() -> None:
    """By number and name."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (DOCS / "reference" / "exit-codes.md").read_text(), flags=re.MULTILINE)
    assert {int(code): name for code, name in rows if int(code) != 130} == {
        code.value: code.name.lower().replace("_", " ") for code in ExitCode
    }


def test_every_status_is_documented_and_whether_it_is_final() -> None:
    """Of hosts and of deployments."""
    page = DOCS / "reference" / "statuses.md"
    hosts = re.findall(r"^\| `([a-z_]+)` \|", section(page, "Of a host, in a deployment"), flags=re.MULTILINE)
    assert hosts == [status.value for status in HostStatus]
    rows = re.findall(r"^\| `([a-z_]+)` \| (yes|) ?\|", section(page, "Of a deployment"), flags=re.MULTILINE)
    assert {name: final == "yes" for name, final in rows} == {each.value: each.is_final for each in DeploymentStatus}


@by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    """Within the repository."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


def read_example(text: str) -> object:
    """Return what an example is an example of, read by the code that reads the real file."""
    if re.search(r"^\[app\.\w+\]", text, flags=re.MULTILINE):
        return read_toml(text, Config, "example")
    if re.search(r"^\[+(cluster|controller|store|environment|notify|role|repository)", text, flags=re.MULTILINE):
        return parse_fleet(text)
    return load_app_config(text if "[app]" in text else f'[app]\nname = "shop"\n{text}')


@by_page
def test_every_example_of_a_settings_file_can_be_read(page: Path) -> None:
    """What is copied from a page works."""
    for text in blocks(page, "toml"):
        assert isinstance(read_example(text), (AppConfig, Fleet, Config))


def test_the_readme_shows_what_the_demo_shows() -> None:
    """Every claim of the demo's table stands in the README, so that a changed demo changes it."""
    readme = (ROOT / "README.md").read_text()
    claims = re.findall(r'Finding\("([^"]+)"', (ROOT / "examples" / "demo" / "run.py").read_text())
    assert claims
    assert not [claim for claim in claims if claim not in readme]


def test_every_page_can_be_found_from_the_first() -> None:
    """The index links to every page below it."""
    index = (DOCS / "README.md").read_text()
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page.name != "README.md"]
    assert not [page for page in pages if f"({page})" not in index]
