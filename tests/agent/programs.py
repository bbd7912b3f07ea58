"""Stand-ins for the system's programs, found before the real ones."""

from __future__ import annotations

from pathlib import Path


class Programs:
    """Programs in a folder that write down how they were called and say what they are told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def say(self, program: str, text: str, code: int = 0) -> None:
        """Let `program` print `text` on both streams and exit with `code`."""
        path = self._folder / program
        note = f'printf "%s\\n" "$*" >> {self._folder}/calls'
        path.write_text(f'#!/bin/sh\n{note}\nprintf "%s" "{text}" | tee /dev/stderr\nexit {code}\n')
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """The arguments of each call."""
        return (self._folder / "calls").read_text().splitlines()

    def run(self, program: str, script: str) -> None:
        """Let `program` be a shell script."""
        path = self._folder / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
