"""Private keys as files: `<home>/keys/<name>.key`, each 0600, each of one kind, made once and never overwritten.

A file is a comment for the person who finds it, and one line "<kind> <64 hex digits>":
`ed25519` signs (TUF roles, deployments, signals, beacons), `curve25519` is the
controller's end of the encrypted transport. Taking a key offline is moving its file.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from clarion_controller.durable_files import make_folder, write_new_file
from clarion_protocol.errors import BadConfig
from clarion_protocol.keys import SigningKey
from clarion_protocol.transport_keys import TransportKey

ED25519 = "ed25519"
CURVE25519 = "curve25519"
TRANSPORT = "transport"
SIGNERS = ("root", "targets", "snapshot", "timestamp", "deployer", "signal", "beacon")

_LINE = re.compile(r"(ed25519|curve25519) ([0-9a-f]{64})\Z")
_COMMENT = "# Clarion's {name} key. Whoever can read this file can act as its owner.\n"
_MAX_BYTES = 1024


@dataclass(frozen=True)
class KeyFolder:
    """The folder of a cluster's private keys."""

    path: Path

    def file(self, name: str) -> Path:
        """Return where the key `name` is kept."""
        return self.path / f"{name}.key"

    def has(self, name: str) -> bool:
        """Return whether the key is here, and not offline."""
        return self.file(name).exists()

    def make(self, name: str) -> SigningKey:
        """Make a new Ed25519 key.

        Raises:
            BadConfig: there is already a key of that name.
        """
        key = SigningKey.generate()
        self._write(name, ED25519, key.seed)
        return key

    def make_transport(self) -> TransportKey:
        """Make the transport key.

        Raises:
            BadConfig: there is already one.
        """
        key = TransportKey.generate()
        self._write(TRANSPORT, CURVE25519, bytes.fromhex(key.secret))
        return key

    def read(self, name: str) -> SigningKey:
        """Return the Ed25519 key `name`.

        Raises:
            BadConfig: it is not here, others can read it, or it is no such key.
        """
        return SigningKey(_read(self.file(name), ED25519))

    def read_transport(self) -> TransportKey:
        """Return the transport key.

        Raises:
            BadConfig: it is not here, others can read it, or it is no such key.
        """
        return TransportKey.from_secret(_read(self.file(TRANSPORT), CURVE25519).hex())

    def tuf_signer(self, name: str) -> CryptoSigner:
        """Return the key `name` as python-tuf wants it.

        Raises:
            BadConfig: it is not here, others can read it, or it is no such key.
        """
        return CryptoSigner(Ed25519PrivateKey.from_private_bytes(self.read(name).seed))

    def _write(self, name: str, kind: str, secret: bytes) -> None:
        make_folder(self.path, mode=0o700)
        text = _COMMENT.format(name=name) + f"{kind} {secret.hex()}\n"
        try:
            write_new_file(self.file(name), [text.encode()], mode=0o600)
        except FileExistsError as error:
            raise BadConfig(
                f"{self.file(name)} exists, and a key is never overwritten",
                hint="Move it away first if a new one is really meant.",
            ) from error


def _read(path: Path, kind: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BadConfig(
            f"{path} is not here; this needs the {path.stem} key",
            hint=f"If it was taken offline, bring the file back for this one command: {path}",
        ) from error
    except OSError as error:
        raise BadConfig(f"{path} cannot be opened: {error.strerror}", hint=f"Run 'ls -l {path}' to see why.") from error
    try:
        _refuse_shared(path, os.fstat(descriptor))
        return _parse(path, os.read(descriptor, _MAX_BYTES).decode("ascii", "replace"), kind)
    finally:
        os.close(descriptor)


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadConfig(f"{path} is not a plain file")
    if status.st_mode & 0o077:
        raise BadConfig(
            f"{path} can be used by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"Run 'chmod 600 {path}', and replace the key if a stranger may have read it.",
        )


def _parse(path: Path, text: str, kind: str) -> bytes:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    match = _LINE.match(lines[0]) if len(lines) == 1 else None
    if match is None:
        raise BadConfig(f"{path} is no key file: one line '{kind} <64 hex digits>' is due")
    if match[1] != kind:
        raise BadConfig(f"{path} holds a key of kind {match[1]} where {kind} is due")
    return bytes.fromhex(match[2])
