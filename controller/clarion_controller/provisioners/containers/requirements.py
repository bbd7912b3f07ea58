"""What this machine lacks to make servers in containers."""

from __future__ import annotations

import os
import shutil
import subprocess

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
        BadConfig: not as this user, the kernel refuses, or something is not installed; the hint says what to do.
    """
    if os.geteuid() != 0:
        raise BadConfig("servers in containers are made by root", hint="Run it with sudo, or as a system unit.")
    absent = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if absent:
        raise BadConfig(
            f"servers in containers need {', '.join(absent)}",
            hint=f"Run: apt-get install --no-install-recommends {' '.join(absent)}",
        )
    _demand_users()


def _demand_users() -> None:
    done = subprocess.run(["unshare", "--user", "true"], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise BadConfig(
            f"servers in containers need users of their own, and this kernel gives none: {done.stderr.strip()}",
            hint="See 'sysctl user.max_user_namespaces'; it must not be 0.",
        )
