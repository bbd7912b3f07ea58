"""`clarion validate`: whether the files that people write can be read, and where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from clarion_agent.config import load_config as load_agent_config
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import say, show_error, show_warning
from clarion_controller.cluster import Cluster
from clarion_controller.fleet_toml.beside import doubts_of
from clarion_controller.fleet_toml.fleet import load_fleet
from clarion_protocol.app_config import load_app_config
from clarion_protocol.errors import BadConfig
from clarion_protocol.toml_file import line_of
from clarion_protocol.words import ExitCode


def validate(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="What to check.", show_default="HOME/fleet.toml and ./clarion.toml"),
    ] = None,
) -> int:
    """Check fleet.toml, clarion.toml, agent.toml; changes nothing."""
    chosen = files or [path for path in (place_of(context).home / "fleet.toml", Path("clarion.toml")) if path.exists()]
    if not chosen:
        raise BadConfig("there is nothing to check here", hint="Name a file: 'clarion validate FILE'.")
    valid = [_is_valid(path) for path in chosen]  # all of them, so that every mistake is shown
    return ExitCode.COMMITTED if all(valid) else ExitCode.USAGE


def _is_valid(path: Path) -> bool:
    try:
        warnings = _check_of(path)(path)
    except BadConfig as error:
        show_error(error.message, error.hint)
        return False
    say(f"{path} is valid.")
    for warning in warnings:
        show_warning(warning)
    return True


def _check_of(path: Path) -> Callable[[Path], list[str]]:
    """Return what reads such a file, and returns what of it may not work here."""
    checks = {"fleet.toml": _check_fleet, "clarion.toml": _check_app, "agent.toml": _check_agent}
    kind = f"{path.name.partition('.')[0]}.toml"  # agent.example.toml is an agent.toml
    if kind not in checks:
        raise BadConfig(f"{path}: no file that Clarion reads", hint=f"It reads {', '.join(checks)}.")
    return checks[kind]


def _check_fleet(path: Path) -> list[str]:
    fleet, home = load_fleet(path), path.parent
    if (home / "store").is_dir():  # a cluster's own: what its controller would not start with is not valid
        Cluster.at(home)
    text = path.read_text("utf-8")
    return [f"{path}, line {line_of(text, key)}: {'.'.join(key)}: {doubt}" for doubt, key in doubts_of(fleet, home)]


def _check_app(path: Path) -> list[str]:
    try:
        load_app_config(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read: {error}") from error
    return []


def _check_agent(path: Path) -> list[str]:
    load_agent_config(path)
    return []
