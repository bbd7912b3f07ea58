"""Where nights make servers: the roles that some environment names, and the clouds that they lie in. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.roles import Role


def roles_of(fleet: Fleet) -> list[Role]:
    """Return each role that a night makes servers of."""
    named = {name for environment in fleet.environment.values() for name in environment.roles}
    return [fleet.role[name] for name in sorted(named)]


def in_clouds(roles: Iterable[Role]) -> list[Role]:
    """Return in which clouds, and where in them, these roles are made, each place once."""
    places: list[Role] = []
    for role in roles:
        place = Role(aws=role.aws, gcp=role.gcp, azure=role.azure)
        if role.provisioner != "nspawn" and place not in places:
            places.append(place)
    return places
