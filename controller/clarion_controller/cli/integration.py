"""`clarion integration`: check what must answer between the real hosts of an environment, through their agents."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from clarion_controller.api.answers import HostAnswer
from clarion_controller.cli import options
from clarion_controller.cli.ordering import actor, confirm
from clarion_controller.cli.place import Place, place_of
from clarion_controller.cli.show import console, note, say, say_sentence, show_json
from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet, load_fleet
from clarion_controller.fleet_toml.roles import Integration, Role
from clarion_controller.integration import applying
from clarion_controller.key_files import KeyFolder
from clarion_controller.nightly.integration import Ground, Member, check_between
from clarion_controller.nightly.rehearsal_order import Orderer
from clarion_controller.nightly.report import Check, Result
from clarion_controller.texts import count, one_line
from clarion_protocol.errors import NothingMatches
from clarion_protocol.words import ExitCode

_STYLES = {Result.WORKS: "green", Result.BROKEN: "red", Result.SKIPPED: "yellow"}


def integration(
    context: typer.Context,
    *,
    environment: options.Environment,
    yes: options.Yes = False,
    json: options.Json = False,
    key: options.Key = None,
) -> int:
    """Check what must answer between hosts, through their agents."""
    place = place_of(context)
    fleet = load_fleet(place.home / FILE_NAME)
    wanted = _wanted(fleet, environment)
    orderer = _orderer(place, environment, key)
    members = members_of(fleet.role, orderer.controller.hosts(environment))
    for each in wanted:
        note(f"{each.name}: from {_listed(members[each.from_])} to {_listed(members[each.to])}")
    if not yes:
        confirm(f"Have the agents check {count(len(wanted), 'integration')}? It restarts nothing.")
    with tempfile.TemporaryDirectory(prefix="clarion-integration-") as work:
        ground = Ground(place.home, orderer, members, programs=place.home, work=Path(work))
        checks = [_checked(ground, each, is_quiet=json) for each in wanted]
    if json:
        show_json(checks)
    return ExitCode.FAILED if any(check.result is Result.BROKEN for check in checks) else ExitCode.COMMITTED


def _wanted(fleet: Fleet, environment: str) -> list[Integration]:
    wanted = applying(fleet, environment)
    if not wanted:
        raise NothingMatches(
            f"no [[integration]] of {FILE_NAME} applies to {environment}",
            hint=f"Add one whose roles are both in roles of [environment.{environment}], or that names it.",
        )
    return wanted


def _orderer(place: Place, environment: str, key: Path | None) -> Orderer:
    file = key or place.home / "keys" / "deployer.key"
    return Orderer(Controller(place.api), environment, KeyFolder(file.parent).read(file.stem), actor())


def members_of(roles: Mapping[str, Role], hosts: Sequence[HostAnswer]) -> dict[str, list[Member]]:
    """Return the hosts of each role: those of the environment that have all its groups, where they were listed."""
    expected = [host for host in hosts if host.is_discovered]
    return {
        name: [_member(host) for host in expected if set(role.groups) <= set(host.groups)]
        for name, role in roles.items()
    }


def _member(host: HostAnswer) -> Member:
    return Member(host.name, host.addresses[0] if host.addresses else host.name, has_agent=host.is_enrolled)


def _checked(ground: Ground, wanted: Integration, *, is_quiet: bool) -> Check:
    check = check_between(ground, wanted)
    if not is_quiet:
        _show(wanted, check)
    return check


def _show(wanted: Integration, check: Check) -> None:
    console().print(f"{check.result.value:7}  ", style=_STYLES[check.result], end="")
    say(wanted.name)
    for line in check.findings or filter(None, [check.reason]):
        say_sentence(one_line(line), indent=9)


def _listed(members: Sequence[Member]) -> str:
    return ", ".join(member.name for member in members) or "nobody"
