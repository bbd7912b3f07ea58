"""Take away what a night that died has left: folders, containers, servers in clouds. What stays is paid for."""

from __future__ import annotations

import time
from collections.abc import Iterator

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.evening import Evening
from clarion_controller.nightly.report import Check, Result
from clarion_controller.nightly.work_folder import sweep_folders
from clarion_controller.provisioners.choose import provisioner_of
from clarion_protocol.errors import ClarionError

NAME = "sweep"


def sweep(evening: Evening) -> Check:
    """Return what was taken away; broken if something could not be. Only who holds the lock of nights may ask."""
    began, troubles = time.monotonic(), list[str]()
    gone = sweep_folders(evening.cluster)
    for role in _roles(evening) if evening.wishes.servers else ():
        gone += _swept(evening, role, troubles)
    for each in gone:
        evening.log(f"taken away, left by a night that died: {each}")
    reason = f"took away what a night that died had left ({len(gone)})" if gone else "nothing was left"
    return Check(
        name=NAME,
        result=Result.BROKEN if troubles else Result.WORKS,
        reason="; ".join(troubles) or reason,
        findings=tuple(gone),
        seconds=time.monotonic() - began,
    )


def _swept(evening: Evening, role: Role, troubles: list[str]) -> list[str]:
    try:
        return provisioner_of(role, evening.home, evening.cluster, "").sweep()
    except ClarionError as error:
        troubles.append(f"{role.provisioner}: {error.sentences}")
        return []


def _roles(evening: Evening) -> Iterator[Role]:
    """Yield each role that a night makes servers of, containers once: they all lie in one place."""
    named = {name for environment in evening.fleet.environment.values() for name in environment.roles}
    seen: list[Role] = []
    for role in (evening.fleet.role[name] for name in sorted(named)):
        if not (role.provisioner == "nspawn" and any(each.provisioner == "nspawn" for each in seen)):
            seen.append(role)
            yield role
