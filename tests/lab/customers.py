"""Runs `load.py` while a test does something else, and hands over what customers saw."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .lab import Lab

SCRIPT = Path(__file__).with_name("load.py")
LIMIT = 180
"""Seconds after which customers leave by themselves."""


class Customers:
    """Customers of the given URLs, for as long as the `with` block lasts."""

    def __init__(self, lab: Lab, urls: Sequence[str]) -> None:
        self.answered: dict[str, int] = {}
        self.failures: dict[str, list[str]] = {}
        self.versions: dict[str, list[str]] = {}
        command = lab.island.command(sys.executable, "-I", str(SCRIPT), str(LIMIT), *urls)
        self._load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Customers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        printed, _nothing = self._load.communicate(timeout=30)
        tallies = json.loads(printed)
        self.answered = {url: tally["answered"] for url, tally in tallies.items()}
        self.failures = {url: tally["failures"] for url, tally in tallies.items() if tally["failures"]}
        self.versions = {url: tally["versions"] for url, tally in tallies.items()}
