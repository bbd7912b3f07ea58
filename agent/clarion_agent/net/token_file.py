"""The file by which an image, or what boots it, hands a join token to a new server."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clarion_protocol.errors import BadConfig
from clarion_protocol.invite import MAX_TOKEN_BYTES


@dataclass(frozen=True)
class TokenFile:
    """A join token in a file; it is a secret, so it goes once it has been used."""

    path: Path

    def read(self) -> str:
        """Return what is in it, at most a little more than a token has.

        Raises:
            BadConfig: it cannot be read.
        """
        try:
            with self.path.open(encoding="ascii", errors="replace") as file:
                return file.read(MAX_TOKEN_BYTES + 100)
        except OSError as error:
            hint = "Run 'clarion hosts invite' on the controller and put the token there, for root only."
            raise BadConfig(f"{self.path}: {error.strerror}", hint=hint) from error

    def is_shared(self) -> bool:
        """Return whether others than its owner may read it."""
        with suppress(OSError):
            return bool(stat.S_IMODE(self.path.stat().st_mode) & 0o077)
        return False

    def delete(self) -> None:
        """Delete it; harmless where it is gone.

        Raises:
            OSError: it cannot be deleted.
        """
        self.path.unlink(missing_ok=True)
