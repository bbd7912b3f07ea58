"""A new server like an old one: what is refused before it costs money, of what it is made, and how far it has come.

Pure: hosts and fleet.toml go in; a decision, or a sentence that says what it waits for, comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clarion_controller.api.answers import HostAnswer, OneHostAnswer, PartAnswer
from clarion_controller.fleet_toml.fleet import Fleet, unknown
from clarion_controller.fleet_toml.roles import Role
from clarion_protocol.errors import BadConfig, Blocked
from clarion_protocol.words import HostStatus, is_name

BROKEN = (HostStatus.FAILED, HostStatus.ROLLED_BACK, HostStatus.SKIPPED)


def model_of(name: str, like: str, environment: str, hosts: Sequence[HostAnswer]) -> HostAnswer:
    """Return the host that `name` is to be like.

    Raises:
        BadConfig: `name` cannot be a host's name.
        Blocked: `name` is taken, or the host is not connected: nobody knows whether it is a good model.
        UnknownName: there is no host `like`.
    """
    if not is_name(name):
        raise BadConfig(f"{name[:80]!r} cannot be a name", hint="Use a-z, 0-9, and . _ - inside.")
    by_name = {host.name: host for host in hosts}
    if name in by_name:
        hint = f"Choose another, or free it: 'clarion hosts revoke {name} -e {environment}'."
        raise Blocked(f"there is a host {name} in {environment} already", hint=hint)
    if like not in by_name:
        raise unknown("host", like, by_name, hint=f"Run 'clarion hosts -e {environment}' to see them.")
    if not by_name[like].is_connected:
        hint = f"Choose a host that is connected: 'clarion hosts -e {environment}'."
        raise Blocked(f"{like} is not connected, so nobody knows whether it is well", hint=hint)
    return by_name[like]


def role_of(model: HostAnswer, fleet: Fleet, wanted: str | None) -> tuple[str, Role] | None:
    """Return the role of servers like `model`, by its groups or by the name that is `wanted`; None if there is none.

    Raises:
        UnknownName: there is no such role.
        BadConfig: several roles have just these groups.
    """
    if wanted is not None:
        if wanted not in fleet.role:
            raise unknown("role", wanted, fleet.role, hint=f"Add [role.{wanted}] to fleet.toml.")
        return wanted, fleet.role[wanted]
    fitting = {name: role for name, role in fleet.role.items() if set(role.groups) == set(model.groups)}
    if len(fitting) > 1:
        raise BadConfig(f"the groups of {model.name} are those of several roles", hint=_choose(fitting))
    return next(iter(fitting.items()), None)


def _choose(roles: Mapping[str, Role]) -> str:
    return f"Add {' or '.join(f'--role {name}' for name in sorted(roles))}."


@dataclass(frozen=True)
class Standing:
    """How far a new server has come, in a sentence for people; `broken` are apps that did not go well on it."""

    sentence: str
    has_joined: bool = False
    is_done: bool = False
    broken: tuple[str, ...] = ()


def standing(seen: OneHostAnswer) -> Standing:
    """Return how far the new server has come."""
    host = seen.host
    if host is None or not host.is_enrolled:
        return Standing("boots, and has not joined yet")
    if not host.is_connected:
        return Standing("has joined, and is not connected yet", has_joined=True)
    if not host.is_discovered:
        return Standing("is connected; its cloud does not list it yet", has_joined=True)
    parts = {each.app: each.part.status for each in seen.parts if each.part}
    broken = tuple(app for app, status in parts.items() if status in BROKEN)
    waiting = [f"{app} {status.value}" for app, status in parts.items() if status is not HostStatus.COMMITTED]
    return Standing(
        ", ".join(waiting) or "runs what is in force",
        has_joined=True,
        is_done=all(status is HostStatus.COMMITTED or app in broken for app, status in parts.items()),
        broken=broken,
    )


def not_its_own(role: Role, seen: OneHostAnswer) -> list[PartAnswer]:
    """Return what is in force and was ordered for named hosts only, of the apps that belong on its role."""
    return [each for each in seen.parts if each.part is None and role.has(each.app)]
