"""The lab's network: one bridge, one network namespace per server, all inside the island."""

from __future__ import annotations

from pathlib import Path

from .island import Island

PREFIX = "10.77.0"
BRIDGE = "br-lab"
HERE = f"{PREFIX}.254"
"""The address of the test itself, for what it serves to the servers."""


class Network:
    """Cables between the servers, which can be pulled."""

    def __init__(self, island: Island) -> None:
        self._island = island
        self._addresses: dict[str, str] = {}
        island.run("ip", "link", "set", "lo", "up")
        island.run("ip", "link", "add", BRIDGE, "type", "bridge")
        island.run("ip", "address", "add", f"{HERE}/24", "dev", BRIDGE)
        island.run("ip", "link", "set", BRIDGE, "up")

    @property
    def addresses(self) -> dict[str, str]:
        """Name and address of every server that was attached."""
        return dict(self._addresses)

    def namespace(self, name: str) -> Path:
        """Return the network namespace of the server `name`, which is there while the server is switched off, too."""
        return self._island.path(f"/run/netns/{name}")

    def attach(self, name: str) -> str:
        """Give the server `name` a network namespace and a cable to the bridge; return its address."""
        number = len(self._addresses) + 1
        address = f"{PREFIX}.{number}"
        cable = f"cable{number}"
        self._addresses[name] = address
        ip, inside = ("ip",), ("ip", "-netns", name)
        for command in (
            (*ip, "netns", "add", name),
            (*ip, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name),
            (*ip, "link", "set", cable, "master", BRIDGE, "up"),
            (*inside, "address", "add", f"{address}/24", "dev", "eth0"),
            (*inside, "link", "set", "eth0", "up"),
            (*inside, "link", "set", "lo", "up"),
        ):
            self._island.run(*command)
        return address

    def cut(self, name: str) -> None:
        """Pull the cable of `name`."""
        self._island.run("ip", "link", "set", self._cable(name), "down")

    def heal(self, name: str) -> None:
        """Plug the cable of `name` in again."""
        self._island.run("ip", "link", "set", self._cable(name), "up")

    def _cable(self, name: str) -> str:
        return f"cable{list(self._addresses).index(name) + 1}"
