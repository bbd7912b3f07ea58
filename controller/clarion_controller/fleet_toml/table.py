"""What every table of fleet.toml has in common, and values that are secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from clarion_protocol.errors import BadConfig

MAX_SECRET_BYTES = 64 * 1024


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of fleet.toml: closed and immutable."""

    @property
    def secrets(self) -> dict[str, Secret]:
        """Where its secrets are, by key."""
        values = {key: getattr(self, key) for key in self.__struct_fields__}
        return {key: value for key, value in values.items() if isinstance(value, Secret)}


class Secret(str):
    """Where a secret value is, never the value: "file:NAME" (below the home's `secrets/`, or absolute) or "env:NAME".

    So fleet.toml can be shown, copied and kept in git.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> Secret:
        """Return where a person says that the secret is.

        Raises:
            ValueError: it is no such place, but perhaps the secret itself; the message does not repeat it.
        """
        kind, colon, name = written.partition(":") if isinstance(written, str) else ("", "", "")
        if not (colon and name and kind in ("file", "env")):
            raise ValueError('a secret is written as where it is: "file:NAME" (in secrets/) or "env:NAME"')
        return cls(written)

    def reveal(self, home: Path) -> str:
        """Return the secret itself, without the line end after it.

        Raises:
            BadConfig: it is not there, empty, no text, or a file that others can read.
        """
        kind, _, name = self.partition(":")
        found = os.environ.get(name, "") if kind == "env" else _read(home / "secrets" / name)
        if not found.strip():
            raise BadConfig(f"the secret {self} is empty or not there", hint="Put it there, then 'clarion doctor'.")
        return found.strip()


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode) or mode & 0o007:
                raise BadConfig(f"{path} is no file, or everybody may read it", hint=f"Run 'chmod o= {path}'.")
            return file.read(MAX_SECRET_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadConfig(f"{path} cannot be read: {why}", hint="Put the secret into that file, mode 0600.") from error
