"""`clarion validate`: whether the files that people write can be read, and where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from clarion_agent.config import load_config as load_agent_config
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import say, show_error
from clarion_controller.cluster import Cluster
from clarion_controller.fleet_toml.fleet import load_fleet
from clarion_protocol.app_config import load_app_config
from clarion_protocol.errors import BadConfig
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
        _reader_of(path)(path)
    except BadConfig as error:
        show_error(error.message, error.hint)
        return False
    say(f"{path} is valid.")
    return True


def _reader_of(path: Path) -> Callable[[Path], object]:
    readers: dict[str, Callable[[Path], object]] = {
        "fleet.toml": _load_fleet,
        "clarion.toml": _load_app,
        "agent.toml": load_agent_config,
    }
    kind = f"{path.name.partition('.')[0]}.toml"  # agent.example.toml is an agent.toml
    if kind not in readers:
        raise BadConfig(f"{path}: no file that Clarion reads", hint=f"It reads {', '.join(readers)}.")
    return readers[kind]


def _load_fleet(path: Path) -> object:
    fleet = load_fleet(path)
    if (path.parent / "store").is_dir():  # a cluster's own: what its controller would not start with is not valid
        Cluster.at(path.parent)
    return fleet


def _load_app(path: Path) -> object:
    try:
        return load_app_config(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read: {error}") from error
