"""What this machine lacks to make servers in containers."""

from __future__ import annotations

import os
import shutil

from clarion_protocol.errors import BadConfig

_TOOLS = {
    "apt-get": "apt",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


def demand_requirements() -> None:
    """Return if servers can be made here.

    Raises:
        BadConfig: not as this user, or something is not installed; the hint says how to install it.
    """
    if os.geteuid() != 0:
        raise BadConfig("servers in containers are made by root", hint="Run it with sudo, or as a system unit.")
    absent = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if absent:
        raise BadConfig(
            f"servers in containers need {', '.join(absent)}",
            hint=f"Run: apt-get install --no-install-recommends {' '.join(absent)}",
        )
