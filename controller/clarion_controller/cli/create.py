"""`clarion init`: a new cluster, or a new environment of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clarion_controller.cli import options
from clarion_controller.cli.place import DEFAULT_HOME, place_of
from clarion_controller.cli.show import say
from clarion_controller.initialise import Initialised, add_environment, check_free, initialise
from clarion_protocol.errors import BadConfig

FIRST_ENVIRONMENT = "production"


def init(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where.", show_default="the controller's home")
    ] = None,
    *,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="The name or IP address that agents connect to.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the cluster is called.")] = "main",
    environment: options.NewEnvironments = None,
) -> None:
    """Create a cluster: its keys, its packages, its fleet.toml."""
    home = folder or place_of(context).home
    if address is None and environment and (home / "fleet.toml").exists():
        _add_environments(home, environment)
    elif address is None:
        check_free(home)
        raise BadConfig("a new cluster needs an address", hint="Add --address HOST: what agents connect to.")
    else:
        _say_what_was_made(initialise(home, name, address, environment or [FIRST_ENVIRONMENT]), name)


def _add_environments(home: Path, environments: list[str]) -> None:
    for environment in environments:
        add_environment(home, environment)
        say(f"Environment {environment} has a policy: this cluster's deployer key may deploy there.")
        say(f"Next: add [environment.{environment}] to {home / 'fleet.toml'}.")


def _say_what_was_made(made: Initialised, name: str) -> None:
    say(f"Cluster {name} is made in {made.home}.")
    say(f"  id    {made.cluster}")
    say(f"  root  {made.root_sha256}  (SHA-256; join tokens carry it)")
    say()
    _say_what_to_take_offline(made)
    say()
    home = "" if made.home == DEFAULT_HOME else f" --home {made.home}"
    say(f"Next: look at {made.home / 'fleet.toml'}, then run 'clarion{home} serve'.")


def _say_what_to_take_offline(made: Initialised) -> None:
    say("Once the first app is published, move these keys to two media in two drawers.")
    say("The controller runs without them, and whoever steals it must not find them:")
    for key in made.offline:
        say(f"  {key.path}")
        say(f"      {key.purpose}")
