"""azurite, Microsoft's double of Azure Blob Storage, on Node: installed once, from hashes, and started on loopback.

It keeps conditions, ranges, pages and signatures (of the account's key) as Azure does; it has no roles.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.clouds.loopback import wait_for
from tests.ports import free_port

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".venvs" / "azurite"
LIMIT = 10 * 60  # seconds to install; the registry may be slow

# Not a secret: every azurite has it, and Microsoft's documentation prints it.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite() -> Iterator[str]:
    """Run it, in memory; yield the account's address, or skip where it cannot be."""
    node, installed = shutil.which("node"), install()
    if node is None or installed is None:
        pytest.skip("azurite needs Node and npm, and its packages: see tests/clouds/azurite.py")
    port = free_port()
    script = installed / "node_modules/azurite/dist/src/blob/main.js"
    command = [node, str(script), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    # It refuses versions of the protocol that are newer than itself, and the SDK always speaks the newest.
    command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    with subprocess.Popen(command, cwd=installed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/{ACCOUNT}?comp=list", server)
            yield f"http://127.0.0.1:{port}/{ACCOUNT}"
        finally:
            server.kill()


def install() -> Path | None:
    """Return the folder in which azurite is installed as package-lock.json says, or None if it cannot be.

    The folder's name is the lock's hash. Tests that run at once install it once.
    """
    lock = HERE / "package-lock.json"
    wanted = CACHE / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if (wanted / ".installed").exists():
            return wanted
        return _install(lock, wanted)


def _install(lock: Path, into: Path) -> Path | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for file in (lock, lock.with_name("package.json")):
        shutil.copy(file, into)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    try:
        subprocess.run(command, cwd=into, timeout=LIMIT, check=True, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    (into / ".installed").touch()
    return into


if __name__ == "__main__":
    sys.exit(0 if install() else "azurite could not be installed: it needs npm and a registry")
