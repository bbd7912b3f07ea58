"""How the running agent stands with its controller: left in a file for `clarion-agent status`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

FILE = "contact.json"


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the line is up, and when the newest valid beacon came (UTC s, 0: not since the agent started)."""

    is_connected: bool = False
    last_beacon: float = 0.0


def note_contact(state_dir: Path, contact: Contact) -> None:
    """Leave `contact` for whoever asks; it need not survive a crash."""
    temporary = state_dir / f"{FILE}.tmp"
    # What only informs never ends an agent: a full disk leaves the last word standing.
    with suppress(OSError):
        temporary.write_bytes(msgspec.json.encode(contact))
        temporary.replace(state_dir / FILE)


def read_contact(state_dir: Path) -> Contact:
    """Return what the agent left last; nothing at all counts as no contact."""
    try:
        return msgspec.json.decode((state_dir / FILE).read_bytes(), type=Contact)
    except (OSError, msgspec.MsgspecError):
        return Contact()
