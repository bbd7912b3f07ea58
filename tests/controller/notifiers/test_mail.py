"""Mail, handed to a real SMTP server, and to some that are slow, rude or choosy."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from hypothesis import given
from hypothesis import strategies as st
from tests.clouds.loopback_certificate import write_certificate
from tests.controller.notifiers.listening import a_notice
from tests.controller.notifiers.postbox import Postbox, read, serving

from clarion_controller.fleet_toml.channels import Email
from clarion_controller.fleet_toml.table import Secret
from clarion_controller.notice import Notice, Severity, Undelivered
from clarion_controller.notifiers.mail import EmailNotifier, mail_of

PASSWORD = "pa55-word-of-clarion"


def to(port: int, *recipients: str, **given_: Any) -> Email:
    """Return a channel's settings."""
    recipients = recipients or ("ops@example.net",)
    return Email(to=recipients, sender="clarion@example.net", host="127.0.0.1", port=port, **given_)


def sent(notice: Notice, **settings: Any) -> tuple[Postbox, EmailMessage]:
    """Return the postbox, and the mail that is in it."""
    box = Postbox()
    with serving(box) as port:
        EmailNotifier(to(port, **settings), "", "main").send(notice)
    (mail,) = box.mails
    return box, mail


def test_a_notice_becomes_a_mail() -> None:
    """What, where, since when, who, and the next command; nobody's holiday answers it."""
    box, mail = sent(a_notice())
    assert box.envelopes[0].rcpt_tos == ["ops@example.net"]
    assert mail["Subject"] == "[main] ERROR: shop 1.4.2 failed in production"
    assert mail["From"] == "Clarion <clarion@example.net>"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    for said in ("web-2, web-3", "clarion logs 3f9c2a11", "2 hosts failed", "2027-01-15 08:00:00 UTC"):
        assert said in text


def test_mails_of_an_incident_make_a_thread() -> None:
    """And one that is tried twice is the same mail."""
    settings = to(25)
    failed, again, repaired, other = (
        mail_of(notice, settings, "main")
        for notice in (a_notice(), a_notice(), a_notice(id="2", resolves=True), a_notice(id="3", incident="other"))
    )
    assert failed["References"] == failed["In-Reply-To"] == repaired["References"] != other["References"]
    assert failed["Message-ID"] == again["Message-ID"] != repaired["Message-ID"]
    assert repaired["Subject"].startswith("[main] RESOLVED: ")


HOSTILE = {
    "another header": "shop failed\r\nBcc: victim@example.net",
    "a body": "shop failed\n\nClick https://evil.example",
    "a bare return": "shop failed\rBcc: victim@example.net",
    "other line ends": "shop\x0bBcc: a\x0cBcc: b\x85Bcc: c\u2028Bcc: d\u2029Bcc: e",
    "the end of the mail": "shop failed\r\n.\r\nMAIL FROM:<x@y>",
    "encoded words": "=?utf-8?q?=0D=0ABcc:_victim@example.net?=",
    "zero": "shop\x00failed",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_header_and_no_mail_is_smuggled_in(text: str) -> None:
    """Whatever a host or a build says stands in the lines that are meant for it."""
    notice = a_notice(
        id=text, title=text, reason=text, app=text, incident=text or "x", affected=(text,), next_command=text
    )
    box, mail = sent(notice)
    assert set(mail.keys()) == set(mail_of(a_notice(), to(25), "main").keys())
    assert box.envelopes[0].rcpt_tos == ["ops@example.net"]
    assert len(box.envelopes) == 1
    assert not [row for row in mail.get_content().splitlines() if row.startswith(("Bcc", "Click", "MAIL"))]


def test_what_belongs_to_no_incident_belongs_to_no_thread() -> None:
    """All rollbacks that somebody wanted would look like one conversation."""
    mail = mail_of(a_notice(incident=""), to(25), "main")
    assert (mail["References"], mail["In-Reply-To"]) == (None, None)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(0, 200))
def test_any_text_is_a_mail_that_can_be_sent(text: str, times: int) -> None:
    """Headers end where they should, lines are no longer than SMTP allows."""
    long = text * times
    notice = a_notice(id=text, title=long, reason=long, incident=text or "x", affected=(long,) * 70, next_command=long)
    raw = mail_of(notice, to(25), long).as_bytes()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert set(read(raw).keys()) == set(mail_of(a_notice(), to(25), "main").keys())


def test_ids_are_not_folded_away() -> None:
    """Also when the sender's domain is long, or no ASCII: a folded id threads nothing."""
    for domain in ("x" * 60 + ".example.net", "b\u00fccher.example"):
        settings = Email(to=("a@b",), sender=f"clarion@{domain}")
        mail = mail_of(a_notice(), settings, "main")
        assert f"References: {mail['References']}\r\n".encode() in mail_of(a_notice(), settings, "main").as_bytes()


def test_text_beyond_ascii_arrives() -> None:
    """As it was said."""
    _, mail = sent(a_notice(title="b\u00fccher \N{SNOWMAN} failed", reason="\u65e5\u672c\u8a9e " * 40))
    assert "b\u00fccher \N{SNOWMAN} failed" in mail["Subject"]
    assert "\u65e5\u672c\u8a9e" in mail.get_content()


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], ssl.SSLContext]:
    """Return what makes a server's side of TLS, trusted here or not."""

    def make(is_trusted: bool) -> ssl.SSLContext:
        context = write_certificate(tmp_path / "tls.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem") if is_trusted else "/dev/null")
        return context

    return make


def by_password(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given_: Any) -> AuthResult:
    """Let in who knows the password."""
    return AuthResult(success=(given_.login, given_.password) == (b"clarion", PASSWORD.encode()), handled=False)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_with_a_password(security: str, tls: Callable[[bool], ssl.SSLContext]) -> None:
    """And only to a server that proves who it is."""
    context, box = tls(True), Postbox()
    # aiosmtpd does not count TLS from the first byte as TLS.
    starttls = {"tls_context": context, "require_starttls": True}
    side = (
        starttls
        if security == "starttls"
        else {"ssl_context": context, "auth_require_tls": False, "auth_required": False}
    )
    known = {"user": "clarion", "password": Secret("file:smtp"), "security": security}
    with serving(box, authenticator=by_password, **{"auth_required": True, **side}) as port:
        notifier = EmailNotifier(to(port, **known), PASSWORD, "main")
        notifier.send(a_notice())
        with pytest.raises(Undelivered, match="535") as caught:
            EmailNotifier(to(port, **known), "wrong-password", "main").send(a_notice())
    assert box.sessions[0].authenticated
    assert caught.value.is_final
    assert "wrong-password" not in caught.value.reason
    assert PASSWORD not in repr(notifier)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for_gets_nothing(security: str, tls: Callable[[bool], ssl.SSLContext]) -> None:
    """Neither mail nor password."""
    box = Postbox()
    side = "tls_context" if security == "starttls" else "ssl_context"
    with serving(box, **{side: tls(False)}) as port, pytest.raises(Undelivered, match="certificate verify failed"):
        EmailNotifier(to(port, security=security), "", "main").send(a_notice())
    assert not box.envelopes


def test_starttls_that_was_taken_away_sends_nothing() -> None:
    """Who sits between can hide it; then the mail waits."""
    box = Postbox()
    with serving(box) as port, pytest.raises(Undelivered, match="STARTTLS") as caught:
        EmailNotifier(to(port, security="starttls"), "", "main").send(a_notice())
    assert not box.envelopes
    assert not caught.value.is_final


def test_no_password_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """But to this machine."""
    monkeypatch.setattr("clarion_controller.notifiers.mail.is_loopback", lambda _: False)
    known = {"user": "clarion", "password": Secret("file:smtp")}
    known_here = {"auth_require_tls": False, "authenticator": by_password}
    with serving(Postbox(), **known_here) as port, pytest.raises(Undelivered, match="in the clear") as caught:
        EmailNotifier(to(port, **known), PASSWORD, "main").send(a_notice())
    assert caught.value.is_final


@pytest.mark.parametrize("said", ["550 no such user", "451 come back later"])
def test_one_who_is_refused_does_not_cost_the_others_a_second_mail(said: str) -> None:
    """They have it; who has not, and why, is said, and that is the end of it."""
    box = Postbox(refusals={"b@example.net": said})
    why = rf"b@example\.net \({said}\); the others have it"
    with serving(box) as port, pytest.raises(Undelivered, match=why) as caught:
        EmailNotifier(to(port, "a@example.net", "b@example.net"), "", "main").send(a_notice())
    assert caught.value.is_final
    assert [each.rcpt_tos for each in box.envelopes] == [["a@example.net"]]


@pytest.mark.parametrize(("said", "is_final"), [("550 no such user", True), ("450 busy", False)])
def test_when_everybody_is_refused_the_server_says_why(said: str, is_final: bool) -> None:
    """For good, or for now."""
    box = Postbox(refusals={"ops@example.net": said})
    with serving(box) as port, pytest.raises(Undelivered, match=said) as caught:
        EmailNotifier(to(port), "", "main").send(a_notice())
    assert caught.value.is_final is is_final
    assert "the others" not in caught.value.reason


@pytest.mark.parametrize(("said", "is_final"), [("554 looks like spam", True), ("452 disk is full", False)])
def test_a_mail_that_is_refused_is_not_sent(said: str, is_final: bool) -> None:
    """After all of it was handed over."""
    with serving(Postbox(after_data=said)) as port, pytest.raises(Undelivered, match=said) as caught:
        EmailNotifier(to(port), "", "main").send(a_notice())
    assert caught.value.is_final is is_final


Conversation = Callable[[socket.socket, threading.Event], None]


@contextmanager
def rude(talk: Conversation) -> Iterator[int]:
    """Yield the port of a server that only does `talk`."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as connection:
                talk(connection, closing)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            closing.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def silent(_: socket.socket, closing: threading.Event) -> None:
    closing.wait(30)


def dripping(connection: socket.socket, closing: threading.Event) -> None:
    while not closing.wait(0.05):
        connection.sendall(b"2")


def chatty(connection: socket.socket, closing: threading.Event) -> None:
    while not closing.wait(0.02):
        connection.sendall(b"220-not yet\r\n")


def stalling_after_data(connection: socket.socket, closing: threading.Event) -> None:
    said = iter([b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"])
    connection.sendall(b"220 ready\r\n")
    while connection.recv(65536):
        if (word := next(said, None)) is None:
            while not closing.wait(0.05):
                connection.sendall(b"2")
            return
        connection.sendall(word)


def taking(at_the_end: Conversation) -> Conversation:
    """Return who takes a mail, and does something else than to say good-bye."""

    def talk(connection: socket.socket, closing: threading.Event) -> None:
        said = iter([b"220 ready\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"])
        connection.sendall(next(said))
        while (data := connection.recv(65536)) and not data.startswith(b"quit"):
            word = b"250 taken\r\n" if data.endswith(b"\r\n.\r\n") else next(said, b"")
            connection.sendall(word)
        at_the_end(connection, closing)

    return talk


def hanging_up(_: socket.socket, __: threading.Event) -> None:
    pass


@pytest.mark.parametrize("talk", [silent, dripping, chatty, stalling_after_data])
def test_a_server_that_accepts_and_stalls_is_given_up(talk: Conversation) -> None:
    """Also one that always has another byte to say."""
    begun = time.monotonic()
    with rude(talk) as port, pytest.raises(Undelivered, match=r"did not take it within|timed out") as caught:
        EmailNotifier(to(port), "", "main", patience=0.6).send(a_notice())
    assert not caught.value.is_final
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_stalls_in_the_handshake_is_given_up(security: str) -> None:
    """TLS has time limits of its own; they are ours, too."""

    def talk(connection: socket.socket, closing: threading.Event) -> None:
        if security == "starttls":
            connection.sendall(b"220 ready\r\n")
            connection.recv(1000)
            connection.sendall(b"250-hello\r\n250 STARTTLS\r\n")
            connection.recv(1000)
            connection.sendall(b"220 go on\r\n")
        connection.sendall(b"\x16\x03\x03\x40\x00")
        dripping(connection, closing)

    begun = time.monotonic()
    with rude(talk) as port, pytest.raises(Undelivered):
        EmailNotifier(to(port, security=security), "", "main", patience=0.6).send(a_notice())
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("at_the_end", [silent, dripping, hanging_up])
def test_a_mail_that_was_taken_is_sent_whatever_comes_after(at_the_end: Conversation) -> None:
    """A server that cannot say good-bye must not cost a second mail."""
    begun = time.monotonic()
    with rude(taking(at_the_end)) as port:
        EmailNotifier(to(port), "", "main", patience=2.0).send(a_notice())
    assert time.monotonic() - begun < 10


RUDE = {"garbage": b"\x00\xff\xfe\r\n", "a refusal": b"554 go away\r\n", "nothing": b"", "a long line": b"2" * 99999}


@pytest.mark.parametrize("greeting", RUDE.values(), ids=RUDE.keys())
def test_a_rude_greeting_is_no_crash(greeting: bytes) -> None:
    """Whoever listens there."""
    with rude(lambda connection, _: connection.sendall(greeting)) as port, pytest.raises(Undelivered) as caught:
        EmailNotifier(to(port), "", "main", patience=3).send(a_notice())
    assert caught.value.reason.isprintable()


def test_nobody_there() -> None:
    """The reason names the host, and what the system said."""
    with rude(silent) as port:
        pass
    with pytest.raises(Undelivered) as caught:
        EmailNotifier(to(port), "", "main").send(a_notice(severity=Severity.INFO))
    assert caught.value.reason == f"no mail through 127.0.0.1 port {port}: Connection refused"


def test_a_timer_does_not_outlive_its_mail() -> None:
    """Nothing is left over from one notice to the next."""
    before = threading.active_count()
    sent(a_notice())
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before
