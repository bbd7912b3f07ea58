"""Says what this machine lacks to boot the lab's servers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import lru_cache

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}


@lru_cache(maxsize=1)
def missing() -> str:
    """Return why the lab cannot run here, as one sentence, or an empty string if it can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    absent = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if absent:
        return f"not installed: {', '.join(absent)}; run 'make lab-deps'"
    return _missing_release() or _missing_from_kernel()


def _missing_release() -> str:
    release = platform.freedesktop_os_release()
    return "" if release["ID"] == "debian" else f"the lab's servers are Debian, this machine is {release['ID']}"


def _missing_from_kernel() -> str:
    spaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc"]
    cable = ["ip", "link", "add", "probe", "type", "veth"]
    done = subprocess.run([*spaces, *cable], capture_output=True, text=True, timeout=20, check=False)
    return "" if done.returncode == 0 else f"this kernel or container refuses namespaces: {done.stderr.strip()}"
