"""Announcements of GitHub, and of Gitea and Forgejo, which speak likewise.

`X-Hub-Signature-256` is "sha256=" and the hex HMAC-SHA256 of the raw body; `X-GitHub-Delivery` is not under it. So the
digest of the body counts as well: a push says when it was (`repository.pushed_at`), and never reads the same twice.
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from clarion_controller.builds.announcements.letter import (
    GONE,
    Announced,
    Letter,
    NothingToBuild,
    Unreadable,
    name_of,
    read_json,
    sealed,
)
from clarion_protocol.errors import BadSignature


class _Person(msgspec.Struct, frozen=True):
    name: str | None = None
    login: str | None = None


class _Commit(msgspec.Struct, frozen=True):
    id: str


class _Pushed(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    after: str
    before: str = ""
    head_commit: _Commit | None = None
    deleted: bool = False
    pusher: _Person | None = None
    sender: _Person | None = None


def verify(letter: Letter, secret: str, now: float) -> None:
    """Let a letter through that `secret` signed.

    Raises:
        BadSignature: it did not.
    """
    del now  # nothing that GitHub signs says when it was sent
    wanted = f"sha256={sealed(secret.encode(), letter.body).hex()}"
    if not hmac.compare_digest(wanted.encode(), letter.header("x-hub-signature-256").encode()):
        raise BadSignature("the signature is not by the secret of this repository")


def read(letter: Letter) -> Announced:
    """Return what was pushed.

    Raises:
        NothingToBuild: it is another event, or a branch that was deleted.
        Unreadable: it makes no sense.
    """
    event = letter.header("x-github-event")
    if event != "push":
        raise NothingToBuild(f"heard, and nothing to do: only pushes are built, not {event[:40]!r}")
    if letter.header("content-type").startswith("application/x-www-form-urlencoded"):
        raise Unreadable("set the webhook's content type to application/json")
    pushed = read_json(letter.body, _Pushed)
    if pushed.deleted or GONE.match(pushed.after):
        raise NothingToBuild("heard, and nothing to do: it was deleted")
    people = [each for each in (pushed.sender, pushed.pusher) if each]
    return Announced(
        ref=pushed.ref,
        # Of an annotated tag, `after` is the tag itself, and this the commit that it is on.
        commit=pushed.head_commit.id if pushed.head_commit else pushed.after,
        delivery=letter.header("x-github-delivery"),
        by=name_of(*(each.login or each.name for each in people)),
        digest=hashlib.sha256(letter.body).hexdigest(),
        before=pushed.before,
    )
