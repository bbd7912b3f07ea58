"""Hosts that are listed by name in fleet.toml."""

from __future__ import annotations

from dataclasses import dataclass

from clarion_controller.discover.discovered import Discovered


@dataclass(frozen=True)
class StaticDiscoverer:
    """Returns the names it was given, each once."""

    names: tuple[str, ...]

    def hosts(self) -> list[Discovered]:
        """Return the listed hosts, in the order in which they are listed."""
        return [Discovered(name=name, source="static") for name in dict.fromkeys(self.names)]
