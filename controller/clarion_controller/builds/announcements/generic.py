"""Announcements of anything else: a script after a push, another forge.

- `X-Clarion-Timestamp`: now, in UTC seconds
- `X-Clarion-Signature-256`: "sha256=" and the hex HMAC-SHA256 of that timestamp, "." and the raw body
- the body: {"ref": "refs/heads/main", "commit": "...", "delivery": "...", "by": "..."}; the same `delivery`, any text
  without spaces, never counts twice
"""

from __future__ import annotations

import hmac

import msgspec

from clarion_controller.builds.announcements.letter import (
    GONE,
    Announced,
    Letter,
    NothingToBuild,
    check_age,
    name_of,
    read_json,
    sealed,
)
from clarion_protocol.errors import BadSignature


class _Pushed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ref: str
    commit: str
    delivery: str
    by: str = ""


def verify(letter: Letter, secret: str, now: float) -> None:
    """Let a letter through that `secret` signed within the last minutes.

    Raises:
        BadSignature: it did not.
    """
    moment = letter.header("x-clarion-timestamp")
    wanted = f"sha256={sealed(secret.encode(), moment.encode(), b'.', letter.body).hex()}"
    if not hmac.compare_digest(wanted.encode(), letter.header("x-clarion-signature-256").encode()):
        raise BadSignature("the signature is not by the secret of this repository")
    check_age(moment, now)


def read(letter: Letter) -> Announced:
    """Return what was pushed.

    Raises:
        NothingToBuild: it was deleted.
        Unreadable: it makes no sense.
    """
    pushed = read_json(letter.body, _Pushed)
    if GONE.match(pushed.commit):
        raise NothingToBuild("heard, and nothing to do: it was deleted")
    return Announced(ref=pushed.ref, commit=pushed.commit, delivery=pushed.delivery, by=name_of(pushed.by))
