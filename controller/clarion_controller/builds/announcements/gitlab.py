"""Announcements of GitLab: with a secret token in a header, or signed, which newer ones can.

A signing token is written "whsec_" and 32 bytes in base64. With it, `webhook-signature` holds "v1," and the base64
HMAC-SHA256 of `webhook-id`, "." , `webhook-timestamp`, "." and the raw body, perhaps among others, with spaces between.
https://docs.gitlab.com/user/project/integrations/webhooks/ and https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
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

SIGNING = "whsec_"
MOST_SIGNATURES = 8
_EVENTS = ("Push Hook", "Tag Push Hook")
_NUMBERS = ("webhook-id", "idempotency-key", "x-gitlab-event-uuid")


class _Pushed(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    after: str
    before: str = ""
    checkout_sha: str | None = None
    user_username: str | None = None
    user_name: str | None = None


def verify(letter: Letter, secret: str, now: float) -> None:
    """Let a letter through that `secret`, a signing token, signed; or that holds `secret`, a secret token.

    Raises:
        BadSignature: neither.
    """
    wanted = _signature(letter, secret)  # made in any case: how long this takes does not tell which kind it is
    if secret.startswith(SIGNING):
        offered = letter.header("webhook-signature").split(" ")[:MOST_SIGNATURES]
        is_genuine = any(hmac.compare_digest(f"v1,{wanted}".encode(), each.encode()) for each in offered)
    else:
        is_genuine = hmac.compare_digest(secret.encode(), letter.header("x-gitlab-token").encode())
    if not is_genuine:
        raise BadSignature("neither the token nor a signature by it")
    if secret.startswith(SIGNING):
        check_age(letter.header("webhook-timestamp"), now)


def read(letter: Letter) -> Announced:
    """Return what was pushed.

    Raises:
        NothingToBuild: it is another event, or a branch that was deleted.
        Unreadable: it makes no sense.
    """
    event = letter.header("x-gitlab-event")
    if event not in _EVENTS:
        raise NothingToBuild(f"heard, and nothing to do: only pushes are built, not {event[:40]!r}")
    pushed = read_json(letter.body, _Pushed)
    if GONE.match(pushed.after):
        raise NothingToBuild("heard, and nothing to do: it was deleted")
    return Announced(
        ref=pushed.ref,
        # Of an annotated tag, `after` is the tag itself, and this the commit that it is on.
        commit=pushed.checkout_sha or pushed.after,
        delivery=next(filter(None, map(letter.header, _NUMBERS)), ""),
        by=name_of(pushed.user_username, pushed.user_name),
        before=pushed.before,
    )


def _signature(letter: Letter, secret: str) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(SIGNING), validate=True)
    except (binascii.Error, ValueError):
        key = secret.encode()
    id_, moment = (letter.header(name).encode() for name in ("webhook-id", "webhook-timestamp"))
    return base64.b64encode(sealed(key, id_, b".", moment, b".", letter.body)).decode()
