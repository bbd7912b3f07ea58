"""Mail, through an SMTP server (RFC 5321), as plain text.

- A notice has the same Message-ID each time it is tried, and all of an incident refer to one thread (RFC 5322, 3.6.4).
- TLS, where it is asked for, is verified; a password goes in the clear only to this machine.
- When the server takes a notice for some recipients only, that is final: nobody gets a mail twice for another's sake.
"""

from __future__ import annotations

import hashlib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import formatdate

from clarion_controller.fleet_toml.channels import Email
from clarion_controller.notice import Notice, Undelivered
from clarion_controller.notifiers.mail_line import PATIENCE, SmtpOnLine, TookTooLong, line_to
from clarion_controller.notifiers.post import blotted, is_loopback
from clarion_controller.notifiers.text import line, paragraphs
from clarion_protocol.os_words import os_words

Refused = dict[str, tuple[int, bytes]]  # address: what the server said


@dataclass(frozen=True)
class EmailNotifier:
    """One server, and who gets mail through it."""

    settings: Email
    password: str = field(repr=False)
    cluster: str
    patience: float = PATIENCE

    def send(self, notice: Notice) -> None:
        """Hand the mail to the server.

        Raises:
            Undelivered: the server did not take it, or not for all recipients.
        """
        with _as_undelivered(self):
            refused = self._submit(mail_of(notice, self.settings, self.cluster))
        if refused:
            raise self._refusal(refused)

    def _submit(self, mail: EmailMessage) -> Refused:
        """Return who was refused, and why; the others have it."""
        with (
            line_to(self.settings.host, self.settings.port, self.patience) as plain,
            self._secured(plain) as sock,
            closing(SmtpOnLine(sock, self.settings.host)) as smtp,
        ):
            self._sign_in(smtp)
            try:
                return smtp.send_message(mail, self.settings.sender, self.settings.to)
            except smtplib.SMTPRecipientsRefused as error:
                return error.recipients
            finally:
                # It is sent or not by now, whatever the server says to this.
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()

    def _secured(self, plain: socket.socket) -> socket.socket:
        if self.settings.security != "tls":
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.settings.host)

    def _sign_in(self, smtp: smtplib.SMTP) -> None:
        if self.settings.security == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if not self.settings.user:
            return
        if self.settings.security == "none" and not is_loopback(self.settings.host):
            reason = f'{self.settings.host} is to be told a password in the clear: set security to "starttls" or "tls"'
            raise Undelivered(reason, is_final=True)
        smtp.login(self.settings.user, self.password)

    def _refusal(self, refused: Refused) -> Undelivered:
        said = "; ".join(f"{address} ({code} {_shown(why)})" for address, (code, why) in refused.items())
        if len(refused) < len(set(self.settings.to)):
            return Undelivered(line(f"{self.settings.host} refuses {said}; the others have it", 500), is_final=True)
        is_final = all(code >= 500 for code, _ in refused.values())
        return Undelivered(line(f"{self.settings.host} refuses {said}", 500), is_final=is_final)


def mail_of(notice: Notice, settings: Email, cluster: str) -> EmailMessage:
    """Return the notice as a mail."""
    mail = EmailMessage(policy=POLICY)
    urgency = "resolved" if notice.resolves else notice.severity.value
    # What looks encoded is not to be decoded, into whatever it may hold (RFC 2047).
    mail["Subject"] = line(f"[{cluster}] {urgency.upper()}: {notice.title}", 200).replace("=?", "= ?")
    mail["From"] = f"Clarion <{settings.sender}>"
    mail["To"] = ", ".join(settings.to)
    mail["Date"] = formatdate()
    mail["Message-ID"] = _id(f"notice/{cluster}/{notice.id}", settings.sender)
    if notice.incident:
        thread = _id(f"incident/{cluster}/{notice.incident}", settings.sender)
        mail["In-Reply-To"] = mail["References"] = thread
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail["X-Clarion-Kind"] = notice.kind.value
    mail.set_content(f"{line(notice.title, 500)}\n\n{paragraphs(notice)}\n")
    return mail


def _id(what: str, sender: str) -> str:
    """Return an id that is the same for the same thing, and short enough that no header is folded."""
    domain = sender.rpartition("@")[2]
    short = domain if domain.isascii() and len(domain) <= 32 else "clarion.invalid"
    return f"<{hashlib.sha256(what.encode()).hexdigest()[:24]}@{short}>"


@contextmanager
def _as_undelivered(notifier: EmailNotifier) -> Iterator[None]:
    host = notifier.settings.host
    try:
        yield
    except smtplib.SMTPResponseException as error:
        said = line(blotted(_shown(error.smtp_error), (notifier.password,)), 200)
        raise Undelivered(f"{host} answers {error.smtp_code} {said}", is_final=error.smtp_code >= 500) from error
    except TookTooLong as error:
        raise Undelivered(f"{host} did not take it within {notifier.patience:.0f} s") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Undelivered(f"{host} does not offer what fleet.toml asks for, nothing was sent: {error}") from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        # smtplib's own errors are OSErrors as well.
        said = os_words(error) if isinstance(error, OSError) else str(error)
        raise Undelivered(f"no mail through {host} port {notifier.settings.port}: {line(said, 200)}") from error


def _shown(said: bytes | str) -> str:
    return line(said.decode("utf-8", "replace") if isinstance(said, bytes) else said, 200)
