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

LIVES = Path("/run/lock")
"""The same for every run on this machine, wherever its cache is: a sweep has to know all living labs."""


class Lab:
    """Boots servers and takes them all away again, as a context manager."""

    def __init__(self, cache: Cache) -> None:
        sweep()
        self.name = secrets.token_hex(4)
        self.servers: dict[str, Server] = {}
        self._alive = _life(self.name)
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
        self.power_on(*servers)
        return servers

    def power_on(self, *servers: Server) -> None:
        """Boot servers that are switched off, all at once."""
        for server in servers:
            server.start()
        for server in servers:
            server.wait_until_up()
        self._introduce()

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


def sweep() -> list[str]:
    """Remove what labs have left whose process is dead, never a living one's; return their names."""
    locks = {path.stem.removeprefix(cgroups.PREFIX) for path in LIVES.glob(f"{cgroups.PREFIX}*.lock")}
    return sorted(name for name in locks | cgroups.labs() if _sweep_one(name))


def _sweep_one(name: str) -> bool:
    life = _life(name)
    if not life.seize():
        life.release()
        return False
    with contextlib.ExitStack() as stack:
        stack.callback(life.remove)
        cgroups.remove(name)
    return True


def _life(name: str) -> Lock:
    """Return the lock that a lab holds for as long as its process lives."""
    return Lock(LIVES / f"{cgroups.PREFIX}{name}.lock")
