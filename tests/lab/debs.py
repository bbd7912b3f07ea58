"""Clarion's Debian packages, built from this checkout and installed by apt on a booted server, as a user does it.

Building and installing takes minutes, so the result is cached as a layer that a server's disk lies on; its key is
the content of everything that goes into the packages.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from .cache import Cache
from .lab import Lab

REPOSITORY = Path(__file__).parents[2]
INGREDIENTS = ("agent", "controller", "packaging", "systemd", "pyproject.toml", "constraints*.txt")
WITH_CLOUDS = ("clarion", "clarion-aws", "clarion-gcp", "clarion-azure")
BUILD_LIMIT = 900.0
INSTALL_FROM = "/root/debs"
PERSONAL = ("etc/hostname", "etc/hosts", "var/log/journal")


def build(cache: Cache) -> Path:
    """Return the folder of the packages of this checkout, those with the clouds' SDKs among them."""
    return cache.entry(f"debs-{_fingerprint()}", _build)


def installed(cache: Cache, *packages: str, over: Path | None = None) -> Path:
    """Return the layer that installing these packages together lays over the plain rootfs and the layer `over`."""
    debs = [next(build(cache).glob(f"{package}_*.deb")) for package in packages]
    below = [over] if over else []
    key = "-".join(["+".join(packages), *(layer.parent.name for layer in below), "installed", _fingerprint()])
    return cache.entry(key, lambda target: _install(cache, debs, below, target)) / "disk"


@lru_cache(maxsize=1)
def _fingerprint() -> str:
    # once a run: whoever edits while the tests run gets one answer, not two
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *INGREDIENTS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = (REPOSITORY / name for name in sorted(set(listed.split("\0"))) if name)
    sums = [f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files if path.is_file()]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:16]


def _build(target: Path) -> None:
    command = [str(REPOSITORY / "packaging/build-deb"), "--clouds", "--out", str(target)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=BUILD_LIMIT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"packaging/build-deb failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")


def _install(cache: Cache, debs: Sequence[Path], below: Sequence[Path], target: Path) -> None:
    with Lab(cache) as lab:
        server = lab.prepare("installer", below, disk=target / "disk")
        server.boot()
        for deb in debs:
            server.copy_in(deb, INSTALL_FROM)
        server.run("sh", "-c", f"apt-get install --yes {INSTALL_FROM}/*.deb", timeout=300)
        server.run("rm", "-r", INSTALL_FROM)
        server.shut_down()
    _forget_the_installer(target)


def _forget_the_installer(target: Path) -> None:
    """Remove what makes the server that installed it this one server; an empty machine id is made anew at boot."""
    shutil.rmtree(target / "disk.work", ignore_errors=True)
    for name in PERSONAL:
        path = target / "disk" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (target / "disk/etc/machine-id").write_text("", encoding="utf-8")
