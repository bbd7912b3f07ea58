"""One change of a TUF repository: metadata is edited as values, then signed and written as a whole.

- What is signed again must carry our own signature already: a store that was tampered
  with is found out instead of being blessed.
- What is signed is checked against the keys that the metadata names before it is written.
- The order is root, roles, targets, snapshot, timestamp. Until the timestamp is there no agent
  sees any of it, and a crash leaves only files that nobody names.
- A version number is never used twice, not even one that a crash left behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from clarion_controller.key_files import KeyFolder
from clarion_controller.publishing.tuf_files import Current
from clarion_protocol.errors import BadConfig

TOP_LEVEL = (Root.type, Targets.type, Snapshot.type, Timestamp.type)


@dataclass(frozen=True)
class Lifetime:
    """How long a signature holds, and how old it gets before it is renewed."""

    valid: timedelta
    renew_after: timedelta


def lifetime_of(role: str) -> Lifetime:
    """Return the lifetime of a role.

    The timestamp proves that nothing newer is withheld, so it is short and renewed hourly:
    a team that publishes nothing for a month is kept alive by the controller, not by people.
    """
    days = {Timestamp.type: 1, Snapshot.type: 7, Targets.type: 365, Root.type: 365}.get(role, 90)
    ages = {Timestamp.type: timedelta(hours=1), Snapshot.type: timedelta(days=1)}
    return Lifetime(timedelta(days=days), ages.get(role, timedelta(days=days / 3)))


def is_old(role: str, expires: datetime, now: datetime) -> bool:
    """Return whether a role that expires then should be signed again now."""
    lifetime = lifetime_of(role)
    return expires - now <= lifetime.valid - lifetime.renew_after


def is_expiring(role: str, expires: datetime, now: datetime) -> bool:
    """Return whether so little is left that people must act if nobody has renewed it: two months of a year."""
    return expires - now <= lifetime_of(role).valid / 6


@dataclass
class Change:
    """Metadata that is being edited, from the metadata in force."""

    keys: KeyFolder
    current: Current
    edited: dict[str, Metadata[Any]] = field(default_factory=dict)

    def edit(self, role: str) -> Any:
        """Return the signed part of `role` for editing.

        Raises:
            BadConfig: its key is offline, or did not sign what is there now.
        """
        if role not in self.edited:
            self.edited[role] = self._own(role)
        return self.edited[role].signed

    def add(self, role: str) -> None:
        """Add a new, empty role below targets."""
        self.edited[role] = Metadata(Targets())

    def commit(self, now: datetime) -> None:
        """Sign and write what was edited, and whatever must name it.

        Raises:
            BadConfig: a key is offline, or is not the one that the metadata names.
        """
        if Root.type in self.edited:
            self._put(Root.type, now)
        below = sorted(set(self.edited) - set(TOP_LEVEL))
        for role in (*below, *({Targets.type} & set(self.edited))):
            meta = self._put(role, now)
            self.edit(Snapshot.type).meta[f"{role}.json"] = meta
        if Snapshot.type in self.edited:
            meta = self._put(Snapshot.type, now)
            self.edit(Timestamp.type).snapshot_meta = meta
        if Timestamp.type in self.edited:
            self._put(Timestamp.type, now)

    def _put(self, role: str, now: datetime) -> MetaFile:
        metadata = self.edited[role]
        signed = metadata.signed
        signed.version = signed.version + 1 if role == Timestamp.type else self.current.files.newest(role) + 1
        signed.expires = now + lifetime_of(role).valid
        metadata.sign(self.keys.tuf_signer(role))
        self._check_signer(role, metadata)
        raw = self.current.files.write(role, metadata)
        return MetaFile.from_data(signed.version, raw, ["sha256"])

    def _check_signer(self, role: str, metadata: Metadata[Any]) -> None:
        delegator = self._now(Root.type if role in TOP_LEVEL else Targets.type).signed
        try:
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except (UnsignedMetadataError, ValueError) as error:
            raise BadConfig(
                f"{self.keys.file(role)} is not the {role} key that agents know",
                hint="Put the key back that this cluster was made with.",
            ) from error

    def _now(self, role: str) -> Metadata[Any]:
        return self.edited[role] if role in self.edited else self.current.metadata(role)

    def _own(self, role: str) -> Metadata[Any]:
        metadata, key = self.current.metadata(role), self.keys.tuf_signer(role).public_key
        try:
            key.verify_signature(metadata.signatures[key.keyid], metadata.signed_bytes)
        except (KeyError, UnverifiedSignatureError) as error:
            raise BadConfig(
                f"{self.keys.file(role)} did not sign the {role} metadata in the store, so it does not sign it again",
                hint="Restore the key that made it, or the folder 'store', from a backup.",
            ) from error
        return metadata
