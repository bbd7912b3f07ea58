"""Debian's own packages on a lab's servers, which have no way to its archive: a layer over the plain rootfs.

They are installed from this machine, whose network the lab's servers do not have, and only unpacked and configured:
what they would start is started by the server that boots.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from .cache import Cache
from .rootfs import rootfs

# What a controller has that builds, and what a server has whose configuration is deployed.
BUILDING = ("cron", "git", "bubblewrap")
PUPPET = ("puppet", "puppet-lint", "nginx-light")
INSTALL_LIMIT = 600.0
# In a mount namespace of its own: a killed installation leaves no mounts behind.
SCRIPT = """\
set -e
mkdir "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/disk,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
cp /etc/resolv.conf "$2/root/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' > "$2/root/usr/sbin/policy-rc.d"
chmod 755 "$2/root/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive
chroot "$2/root" apt-get update -q
place="$2"
shift 2
chroot "$place/root" apt-get install -q -y --no-install-recommends "$@"
rm -r "$place/root/usr/sbin/policy-rc.d" "$place/root"/var/lib/apt/lists/*
"""


def with_packages(cache: Cache, *packages: str) -> Path:
    """Return the layer that installing these Debian packages together lays over the plain rootfs."""
    base = rootfs(cache)
    recipe = "\n".join([base.name, SCRIPT, *packages])
    key = f"debian-{'+'.join(packages)}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    return cache.entry(key, lambda target: _install(base, packages, target)) / "disk"


def _install(base: Path, packages: tuple[str, ...], target: Path) -> None:
    (target / "disk").mkdir()
    command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", str(base), str(target), *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{packages} cannot be installed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    for name in ("work", "root"):
        shutil.rmtree(target / name, ignore_errors=True)
