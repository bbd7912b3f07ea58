"""Which controller a command is about: its home folder and the socket of its API.

`--home` and `--api` may stand anywhere on the command line; otherwise CLARION_HOME and
CLARION_API say it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from clarion_protocol.errors import BadConfig

DEFAULT_HOME = Path("/var/lib/clarion")
OPTIONS = {"--home": "CLARION_HOME", "--api": "CLARION_API"}


@dataclass(frozen=True)
class Place:
    """Where a controller keeps its state, and where it listens."""

    home: Path
    api: Path


def split(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> tuple[Place, list[str]]:
    """Return the place that `arguments` (or the environment) name, and the other arguments.

    Raises:
        BadConfig: one of the options stands without its value.
    """
    named = {option: environ.get(variable, "") for option, variable in OPTIONS.items()}
    rest: list[str] = []
    todo = list(arguments)
    while todo:
        argument = todo.pop(0)
        option, equals, value = argument.partition("=")
        if argument == "--":
            return _place(named), [*rest, argument, *todo]
        if option not in OPTIONS:
            rest.append(argument)
        elif equals or todo:
            named[option] = value if equals else todo.pop(0)
        else:
            raise BadConfig(f"{option} needs a path", hint=f"Write {option} PATH, or set {OPTIONS[option]}.")
    return _place(named), rest


def place_of(context: typer.Context) -> Place:
    """Return the place that the command line named."""
    found: Place = context.obj
    return found


def _place(named: Mapping[str, str]) -> Place:
    home = Path(named["--home"] or DEFAULT_HOME)
    return Place(home.absolute(), Path(named["--api"] or home / "run" / "controller.sock").absolute())
