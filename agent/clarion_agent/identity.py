"""Who this host is: its keys, its record, and the package root it was given when it joined.

All of it is written at once when the host joins and never changed: the folder appears by
one rename, so a host has a whole identity or none.

::

    identity/           0700
      record.json       ids, names, addresses, the controller's transport key
      root.json         the package repository's first root
      sign.key          Ed25519 seed, 32 bytes in hex: signs reports
      transport.key     CURVE secret key, 32 bytes in hex: keeps strangers off the wire
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from clarion_agent import durable
from clarion_agent.floors import FloorFiles
from clarion_protocol import strict_json
from clarion_protocol.documents import Id, Name
from clarion_protocol.errors import BadConfig, ClarionError, JoinRefused
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import KeyHex
from clarion_protocol.words import INSTANCE

FOLDER = "identity"
_NOT_JOINED = "Run 'clarion hosts invite' on the controller, then 'clarion-agent join TOKEN' here."
Port = Annotated[int, Meta(ge=1, le=65_535)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the controller admitted this host as, and where to find it; keys are in hex.

    `instance` is which server of its cloud it was then, empty where there is none.
    """

    host: Id
    name: Name
    cluster: Id
    environment: Name
    groups: list[Name] = []
    address: Annotated[str, Meta(max_length=255)]
    signal_port: Port
    report_port: Port
    package_url: Annotated[str, Meta(max_length=512)]
    server_key: KeyHex
    transport_public: KeyHex
    instance: Annotated[str, Meta(pattern=f"^\\Z|{INSTANCE}")] = ""


@dataclass(frozen=True)
class Identity:
    """A host's identity, with its secrets; `transport_secret` and the record's keys are 64 hex digits."""

    record: Record
    root: bytes
    sign_key: SigningKey
    transport_secret: str

    def save(self, state_dir: Path) -> None:
        """Write this identity below `state_dir`, all or nothing.

        Raises:
            JoinRefused: this host has an identity already.
        """
        folder = state_dir / FOLDER
        if folder.exists():
            raise JoinRefused(
                f"this host has joined already ({folder})",
                hint=f"To join anew, stop the agent and move {folder} away.",
            )
        durable.make_folder(state_dir, mode=0o700)
        # First the floors: an identity without any would look like floors that were lost.
        FloorFiles(state_dir / "trust").begin()
        aside = state_dir / f"{FOLDER}.new"
        durable.remove_tree(aside)
        durable.make_folder(aside, mode=0o700)
        for name, content in self._files().items():
            durable.write_new(aside / name, content)
        durable.fsync_dir(aside)
        durable.move_into_place(aside, folder)

    def _files(self) -> dict[str, bytes]:
        return {
            "record.json": strict_json.dumps(self.record),
            "root.json": self.root,
            "sign.key": self.sign_key.seed.hex().encode(),
            "transport.key": self.transport_secret.encode(),
        }


def has_joined(state_dir: Path) -> bool:
    """Return whether there is an identity below `state_dir`."""
    return (state_dir / FOLDER).exists()


def load_identity(state_dir: Path) -> Identity:
    """Return the identity below `state_dir`.

    Raises:
        BadConfig: this host has not joined, or its identity is damaged.
    """
    folder = state_dir / FOLDER
    try:
        return Identity(
            # Not strict_json: one spelling would shut out the records of earlier agents, which say less.
            record=msgspec.json.decode((folder / "record.json").read_bytes(), type=Record),
            root=(folder / "root.json").read_bytes(),
            sign_key=SigningKey(bytes.fromhex((folder / "sign.key").read_text("ascii"))),
            transport_secret=(folder / "transport.key").read_text("ascii"),
        )
    except FileNotFoundError as error:
        raise BadConfig(f"this host has not joined a cluster: {error.filename} is missing", hint=_NOT_JOINED) from error
    except (ValueError, msgspec.MsgspecError, ClarionError) as error:
        raise BadConfig(f"{folder} is damaged: {error}", hint=f"Move it away. {_NOT_JOINED}") from error
