"""Builds the file system that every server of the lab boots from: a small Debian with systemd.

It is the Debian release that this machine runs, from wherever its own apt takes Debian's packages, with its own apt
settings: so what is built here against the system's Python also runs there.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
from pathlib import Path

from .cache import Cache

PACKAGES = (
    "adduser",
    "curl",
    "dbus",
    "iproute2",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
)
BUILD_LIMIT = 900.0
APT_SETTINGS = ("Acquire::http", "Acquire::Retries", "Acquire::Check-")


def rootfs(cache: Cache) -> Path:
    """Return the folder of the rootfs, built first if this machine has none for these packages."""
    return cache.entry(f"rootfs-{_release()}-{_fingerprint()}", _build)


def _release() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _fingerprint() -> str:
    recipe = [*PACKAGES, Path(__file__).read_text(encoding="utf-8")]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:16]


def _build(target: Path) -> None:
    # in a mount namespace of its own: a killed build leaves no mounts behind
    command = ["unshare", "--mount", "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--aptopt={line}" for line in _apt_settings()]
    command += ["--quiet", "", str(target), "-"]
    done = subprocess.run(command, input=_sources(), capture_output=True, text=True, timeout=BUILD_LIMIT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed; try 'apt-get update' first:\n{done.stderr[-4000:]}")
    _finish(target)


def _finish(target: Path) -> None:
    (target / "etc/machine-id").write_text("", encoding="utf-8")
    # journald keeps its log over a reboot only where this folder exists
    (target / "var/log/journal").mkdir(exist_ok=True)


def _apt_settings() -> list[str]:
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=True).stdout
    return [line for line in dump.splitlines() if line.startswith(APT_SETTINGS) and '""' not in line]


def _sources() -> str:
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)", "Identifier: Packages"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    lines = sorted({line for line in map(_source_line, listed.splitlines()) if line})
    return "\n".join(lines) + "\n"


def _source_line(listed: str) -> str:
    origin, site, release, component = listed.split("|")
    if not origin.startswith("Debian") or release.split("-")[0] != _release() or release.endswith("-backports"):
        return ""
    return f"deb {site} {release} {component}"
