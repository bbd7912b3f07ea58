"""What a server of a role gets at its first boot: the files that its role names, read from the home."""

from __future__ import annotations

from pathlib import Path

from clarion_controller.as_owner import as_owner_of
from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.provisioner import FirstBoot
from clarion_protocol.errors import BadConfig


def read_first_boot(role: Role, home: Path, token: str) -> FirstBoot:
    """Return the first boot of a server of this role.

    Raises:
        BadConfig: a file that the role names cannot be read.
    """
    agent = role.agent if "://" in role.agent or not role.agent else str(home / role.agent)
    return FirstBoot(token, agent, _text(home, role.agent_config), _text(home, role.setup), home)


def _text(home: Path, name: str) -> str:
    try:
        with as_owner_of(home):  # else fleet.toml could have root give its own secrets to a server
            return (home / name).read_text("utf-8") if name else ""
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadConfig(
            f"{home / name}, which a role names, cannot be read: {why}", hint="Put it there, or correct the role."
        ) from error
