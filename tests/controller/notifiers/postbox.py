"""An SMTP server on loopback that keeps the mails it takes."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.ports import free_port


@dataclass
class Postbox:
    """What an SMTP server took; `refusals` are what it answers to a recipient instead."""

    envelopes: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    after_data: str = "250 OK"

    async def handle_RCPT(  # noqa: N802 (the library's spelling)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or refuse."""
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (as above)
        """Take a mail."""
        if self.after_data.startswith("250"):
            self.envelopes.append(envelope)
            self.sessions.append(session)
        return self.after_data

    @property
    def mails(self) -> list[EmailMessage]:
        """What it took, as a mail program reads it."""
        return [read(each.content) for each in self.envelopes]


def read(raw: bytes | str | None) -> EmailMessage:
    """Return a mail as a mail program reads it."""
    assert isinstance(raw, bytes)
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


@contextmanager
def serving(box: Postbox, **settings: Any) -> Iterator[int]:
    """Yield the port of a real SMTP server."""
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), **settings)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()
