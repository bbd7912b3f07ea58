"""A lab: servers on a network of their own, all gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from . import cgroups
from .cache import Cache
from .island import Island
from .locks import Lock
from .network import Network
from .rootfs import rootfs
from .server import Server


class Lab:
    """Boots servers and takes them all away again, as a context manager."""

    def __init__(self, cache: Cache) -> None:
        sweep(cache)
        self.name = secrets.token_hex(4)
        self.servers: dict[str, Server] = {}
        self._alive = _life(cache, self.name)
        self._alive.exclusive()
        self._rootfs = rootfs(cache)
        self.island = Island()
        self.network = Network(self.island)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def boot(self, *names: str, layers: Sequence[Path] = ()) -> list[Server]:
        """Boot new servers, all at once; `layers` lie over the plain rootfs, topmost first."""
        servers = [self.prepare(name, layers) for name in names]
        for server in servers:
            server.start()
        for server in servers:
            server.wait_until_up()
        self._introduce()
        return servers

    def prepare(self, name: str, layers: Sequence[Path] = (), disk: Path | None = None) -> Server:
        """Return a new server that is still switched off; its writes go to `disk`, or to memory."""
        server = Server(self.name, name, self.island, self.network)
        server.install_disk([*layers, self._rootfs], disk)
        self.servers[name] = server
        return server

    def close(self) -> None:
        """Take everything away."""
        self.island.close()
        for server in self.servers.values():
            server.wait_until_off()
        cgroups.remove(self.name)
        self._alive.remove()

    def _introduce(self) -> None:
        hosts = "127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in self.network.addresses.items())
        for server in self.servers.values():
            if server.is_on:
                server.write("/etc/hosts", hosts)


def sweep(cache: Cache) -> list[str]:
    """Remove what labs have left whose process is dead, never a living one's; return their names."""
    names = {path.stem for path in _lives(cache).glob("*.lock")} | cgroups.labs()
    return sorted(name for name in names if _sweep_one(cache, name))


def _sweep_one(cache: Cache, name: str) -> bool:
    life = _life(cache, name)
    if not life.seize():
        life.release()
        return False
    with contextlib.ExitStack() as stack:
        stack.callback(life.remove)
        cgroups.remove(name)
    return True


def _life(cache: Cache, name: str) -> Lock:
    return Lock(_lives(cache) / f"{name}.lock")


def _lives(cache: Cache) -> Path:
    return cache.home / "labs"
