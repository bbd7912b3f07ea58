"""A POST of the notice as JSON to any address, signed so that who gets it can tell that it is ours and new.

`X-Clarion-Signature-256` is "sha256=" and the HMAC-SHA256, in hex, of `X-Clarion-Timestamp`, a full stop and the raw
body. The time is that of sending, so what was recorded on the way cannot be played back a day later; who also remembers
`X-Clarion-Delivery`, which stays the same when sending is tried again, acts on nothing twice.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field

import msgspec

from clarion_controller.notice import Notice
from clarion_controller.notifiers.post import Call, post
from clarion_controller.notifiers.text import line


@dataclass(frozen=True)
class WebhookNotifier:
    """One address, and the secret that it shares."""

    url: str
    secret: str = field(repr=False)

    def send(self, notice: Notice) -> None:
        """Post the notice.

        Raises:
            Undelivered: it was not taken.
        """
        body, now = msgspec.json.encode(notice), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Clarion-Delivery": line(notice.id, 200).encode("ascii", "replace").decode(),
            "X-Clarion-Timestamp": now,
            "X-Clarion-Signature-256": signature(self.secret, now, body),
        }
        post(Call(self.url, body, headers))


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what `X-Clarion-Signature-256` has to say of a body that was sent then."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
