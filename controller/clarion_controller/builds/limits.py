"""What a build may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clarion_controller.fleet_toml.repositories import Repository


@dataclass(frozen=True)
class Limits:
    """`memory` is a process's address space, `disk` all that a build writes (bytes); `timeout` in seconds."""

    network: Literal["none", "full"] = "none"
    memory: int = 4 * 2**30
    disk: int = 10 * 2**30
    processes: int = 512
    timeout: float = 1800.0

    @classmethod
    def of(cls, repository: Repository) -> Limits:
        """Return the limits that fleet.toml sets for the builds of a repository."""
        return cls(
            network=repository.network,
            memory=int(repository.memory),  # they travel in JSON, which knows no Size
            disk=int(repository.disk),
            processes=repository.processes,
            timeout=float(repository.timeout),
        )
