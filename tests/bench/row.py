"""One line of bench.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What was measured: for `n` hosts, in `unit`, beside its floor (measured in the same run) or None."""

    name: str
    n: int
    value: float
    unit: str
    floor: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row with its ratio to the floor."""
        row = {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {**row, "ratio": None if not self.floor else round(self.value / self.floor, 2)}
