"""The network of one night: a bridge and a cable to each server, inside the island, with no way out of it."""

from __future__ import annotations

from clarion_controller.provisioners.containers.island import Island

HERE = "10.77.0.1"
"""The address of what runs on the island beside the servers; every island has its own 10.77.0.0/16."""

_BRIDGE = "servers"


class Network:
    """Cables, numbered like their servers: a server's name may be longer than an interface's may be."""

    def __init__(self, island: Island) -> None:
        self._island = island
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", _BRIDGE, "type", "bridge")
        self._ip("address", "add", f"{HERE}/16", "dev", _BRIDGE)
        self._ip("link", "set", _BRIDGE, "up")

    def attach(self, number: int, process: int) -> None:
        """Give server `number`, which `process` of the island runs in a network namespace of its own, a cable."""
        space, cable = f"server{number}", f"cable{number}"
        self._ip("netns", "attach", space, str(process))
        self._ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("link", "set", cable, "master", _BRIDGE, "up")
        self._ip("-netns", space, "link", "set", "eth0", "up")
        # Last, for a server that has an address boots.
        self._ip("-netns", space, "address", "add", f"{address_of(number)}/16", "dev", "eth0")

    def detach(self, number: int) -> None:
        """Take the cable of server `number` away, if it has one."""
        for command in (("link", "delete", f"cable{number}"), ("netns", "delete", f"server{number}")):
            self._island.run("sh", "-c", '"$@" 2>/dev/null || true', "sh", "ip", *command)

    def _ip(self, *argv: str) -> None:
        self._island.run("ip", *argv)


def address_of(number: int) -> str:
    """Return the address of server `number`, from 1 on."""
    return f"10.77.{(number + 1) // 256}.{(number + 1) % 256}"
