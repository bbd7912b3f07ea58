"""What tests order of a cloud, impatiently."""

from __future__ import annotations

from typing import Any

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.provisioner import FirstBoot, ServerOrder

CLUSTER = "c" * 32
OTHER = "d" * 32
TOKEN = "clarion1.dG9rZW4"
NIGHT = "20261122-0a1b2c3d"


def an_order(name: str = "web-9", run: str = "", setup: str = "") -> ServerOrder:
    """Return an order for a server."""
    return ServerOrder(name, Role(), FirstBoot(TOKEN, setup=setup), run)


def told(error: Any) -> str:
    """Return all that a person reads of an error."""
    return str(error.value)
