"""The users of servers: ids that nothing else on this machine has, so root of a server is nobody outside of it.

They lie above those that systemd gives to its containers and below its foreign ones (systemd's UIDS-GIDS.md). All
servers of nights have the same, for they lie on the same files, each in a user namespace of its own; a server that
stays has those of its name.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

_EACH = 65_536
_FIRST, _BEYOND = 0x7000_0000, 0x7FFE_0000


@dataclass(frozen=True)
class Users:
    """The ids from `first` on, which are 0 to 65535 inside."""

    first: int = _FIRST

    @property
    def range(self) -> str:
        """What systemd-nspawn calls them."""
        return f"{self.first}:{_EACH}"

    @property
    def option(self) -> str:
        """What systemd-nspawn has to be told."""
        return f"--private-users={self.range}"

    def own(self, tree: Path) -> None:
        """Give them a folder with all that is in it; only this process may write there."""
        for path in (tree, *tree.rglob("*")):
            os.chown(path, self.first, self.first)

    def as_root(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` with no more rights on this machine than root of the server has."""
        return ["setpriv", f"--reuid={self.first}", f"--regid={self.first}", "--clear-groups", *argv]


def users_of(name: str) -> Users:
    """Return the users of the server `name` that stays; never those of a night."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return Users(_FIRST + _EACH * (1 + number % ((_BEYOND - _FIRST) // _EACH - 1)))
