"""What a server of a role gets at its first boot: the files that its role names, read from the home."""

from __future__ import annotations

import errno
from pathlib import Path

from clarion_controller.as_owner import open_as_owner_of
from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.provisioner import FirstBoot
from clarion_protocol.errors import BadConfig

MAX_BYTES = 2**20
"""How long a setup script or a configuration may be; every server gets its own."""


def read_first_boot(role: Role, home: Path, token: str) -> FirstBoot:
    """Return the first boot of a server of this role.

    Raises:
        BadConfig: a file that the role names cannot be read.
    """
    agent = role.agent if "://" in role.agent or not role.agent else str(home / role.agent)
    return FirstBoot(token, agent, _text(home, role.agent_config), _text(home, role.setup), home)


def _text(home: Path, name: str) -> str:
    try:
        return _bytes(home, name).decode("utf-8") if name else ""
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadConfig(
            f"{home / name}, which a role names, cannot be read: {why}", hint="Put it there, or correct the role."
        ) from error


def _bytes(home: Path, name: str) -> bytes:
    with open_as_owner_of(home, home / name) as file:  # else fleet.toml could have root give its secrets to a server
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, "it is longer than 1 MiB")
    return content
