"""What fleet.toml needs beside itself, and is not here: files and secrets of the home, and an address for nights.

None of it makes a fleet.toml wrong, and a controller starts without: the home may be another than where the file is
looked at (a pipeline has no secrets), and who never rebuilds at night needs no address for it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from clarion_controller.fleet_toml.check import Key, Problems
from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.table import Table
from clarion_protocol.errors import BadConfig
from clarion_protocol.os_words import os_words


def doubts_of(fleet: Fleet, home: Path) -> Problems:
    """Yield a sentence for each thing that is missed in `home`, and the key that needs it."""
    yield from _file_doubts(fleet, home)
    yield from _secret_doubts(fleet, home)
    yield from _night_doubts(fleet)


def _file_doubts(fleet: Fleet, home: Path) -> Problems:
    for name, key in _files(fleet):
        path = home / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # it is not opened: a pipe would be waited for
                yield f"{path} is no file", key
        except OSError as error:
            yield f"{path} cannot be read: {os_words(error)}", key


def _files(fleet: Fleet) -> Iterator[tuple[str, Key]]:
    """Yield each file that is named, and the key that names it."""
    for name, environment in fleet.environment.items():
        for place, source in enumerate(environment.hosts):
            if source.inventory:
                yield source.inventory, ("environment", name, "hosts", str(place), "inventory")
    for name, role in fleet.role.items():
        for key in ("agent", "agent_config", "setup"):
            file: str = getattr(role, key)
            if file and "://" not in file:
                yield file, ("role", name, key)
    for place, integration in enumerate(fleet.integration):
        if integration.exec:
            yield integration.exec, ("integration", str(place), "exec")


def _secret_doubts(fleet: Fleet, home: Path) -> Problems:
    for table, where in _tables_with_secrets(fleet):
        for key, secret in table.secrets.items():
            try:
                secret.reveal(home)
            except BadConfig as error:  # noqa: PERF203 (a handful)
                yield error.message, (*where, key)


def _tables_with_secrets(fleet: Fleet) -> Iterator[tuple[Table, Key]]:
    for name, repository in fleet.repository.items():
        yield repository, ("repository", name)
    for place, channel in enumerate(fleet.notify):
        yield channel.way, ("notify", str(place), channel.ways[0])


def _night_doubts(fleet: Fleet) -> Problems:
    if fleet.nightly.address:
        return
    for name, environment in fleet.environment.items():
        clouds = [role for role in environment.roles if fleet.role[role].provisioner != "nspawn"]
        if clouds:
            sentence = f"a night cannot make {', '.join(clouds)}: set address below [nightly], where clouds find it"
            yield sentence, ("environment", name, "roles")
