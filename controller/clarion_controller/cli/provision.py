"""`clarion provision`: a new server like an old one, from nothing to running what is in force."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clarion_controller.api.answers import HostAnswer, InviteRequest
from clarion_controller.cli import options
from clarion_controller.cli.newcomer import Newcomer, Waiting, watch
from clarion_controller.cli.ordering import INTERRUPTED, confirm
from clarion_controller.cli.place import Place, place_of
from clarion_controller.cli.show import note, say
from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import FILE_NAME, load_fleet
from clarion_controller.fleet_toml.roles import NspawnServer, Role
from clarion_controller.provision import model_of, role_of
from clarion_controller.provisioners.boot_files import read_first_boot
from clarion_controller.provisioners.choose import provisioner_of
from clarion_controller.provisioners.like import like
from clarion_controller.provisioners.listed import refuse_unlisted
from clarion_controller.provisioners.provisioner import Provisioner, ServerOrder
from clarion_controller.provisioners.taken_back import taken_back
from clarion_controller.texts import one_line
from clarion_protocol.words import ExitCode, is_name

TOKEN_LIVES = 3600.0  # seconds


@dataclass(frozen=True)
class Wish:
    """What is to be made: a server of that name, like that host, of that role, by that provisioner."""

    name: str
    model: HostAnswer
    role_name: str
    role: Role
    provisioner: Provisioner

    @property
    def groups(self) -> list[str]:
        """The groups it is invited into; those that a cloud puts it in are not always names of ours."""
        return [group for group in self.model.groups if is_name(group)]


def provision(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the new server is called.", show_default=False)],
    *,
    like_host: Annotated[
        str, typer.Option("--like", metavar="HOST", help="The host that it is to be like.", show_default=False)
    ],
    environment: options.Environment,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="The [role.*] that it is made of.", show_default="the one with its groups"),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep a server that does not join, to look into it.")] = False,
    yes: options.Yes = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it runs what is in force.")] = True,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait, for example 10m.")] = "20m",
) -> int:
    """Make a server like HOST: it boots, joins, and takes what is in force."""
    place = place_of(context)
    controller = Controller(place.api)
    waiting = Waiting(float(options.duration(timeout, "--timeout")), keep)
    model = model_of(name, like_host, environment, controller.hosts(environment))
    wish = _wish(name, model, role, place)
    say("\n".join(_described(wish)))
    if not yes:
        confirm(f"Make {name}?")
    try:
        newcomer = _make(wish, controller, place.home)
    except KeyboardInterrupt:
        note(f"\nWhat there was of {name} is taken away again, and its invitation is withdrawn.")
        return INTERRUPTED
    if wait:
        return watch(controller, newcomer, waiting)
    say(f"{newcomer.what} boots, and may join within the hour: 'clarion hosts -e {environment}'.")
    return ExitCode.COMMITTED


def _wish(name: str, model: HostAnswer, role_name: str | None, place: Place) -> Wish:
    """Return what would be made, once nothing more can be refused before it costs money.

    Raises:
        ClarionError: there is no such role, nowhere to make it, or no source would list it.
    """
    fleet = load_fleet(place.home / FILE_NAME)
    environment = fleet.in_environment(model.environment)
    found = role_of(model, fleet, role_name)
    role = found[1] if found else like(model.instance, model.zone, environment.hosts)
    refuse_unlisted(name, role, environment)
    provisioner = provisioner_of(role, place.home, Controller(place.api).fleet().cluster, run="")
    return Wish(name, model, found[0] if found else "", role, provisioner)


def _described(wish: Wish) -> Iterator[str]:
    server = getattr(wish.role, wish.role.provisioner) or NspawnServer()
    origin = f"[role.{wish.role_name}] of {FILE_NAME}" if wish.role_name else f"copied from {wish.model.name}"
    instance = f" ({wish.model.instance})" if wish.model.instance else ""
    rows = [("environment", wish.model.environment), ("like", f"{wish.model.name}{instance}")]
    rows += [("groups", ", ".join(wish.groups) or "none"), ("made of", f"{wish.role.provisioner}, {origin}")]
    rows += [(key, _value(value)) for key in server.__struct_fields__ if (value := getattr(server, key))]
    rows += [("agent", wish.role.agent or "the image has it")]
    yield f"A new server, {wish.name}:"
    yield from (f"  {line}" for line in _lines(rows))


def _lines(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(key) for key, _ in rows)
    return [f"{key.ljust(width)}  {one_line(value)}" for key, value in rows]


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _make(wish: Wish, controller: Controller, home: Path) -> Newcomer:
    """Invite and make the server; if that fails, the invitation is withdrawn.

    Raises:
        ClarionError: it could not be made; nothing is left of it.
    """
    environment = wish.model.environment
    invite = controller.invite(
        InviteRequest(environment=environment, name=wish.name, groups=wish.groups, ttl=TOKEN_LIVES)
    )
    with taken_back(lambda: controller.withdraw(invite.id, environment)):
        boot = read_first_boot(wish.role, home, invite.token)
        note(f"Making {wish.name} ...")
        machine = wish.provisioner.create(ServerOrder(wish.name, wish.role, boot))
    return Newcomer(machine, environment, wish.role, wish.provisioner, invite.id)
