"""One request to servers that are slow, long, rude, or in the way: each ends in time, and gives no secret away."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clouds.loopback_certificate import write_certificate
from tests.controller.notifiers.listening import (
    Behaviour,
    answer,
    dripping_body,
    dripping_head,
    endless,
    garbage,
    listening,
    nothing,
)

from clarion_controller.notice import Undelivered
from clarion_controller.notifiers.post import MOST_READ, Call, ask, blotted, is_loopback, post, seconds_of

SECRET = "T0000/B1111/Xk29ZnQ8v7"


def trouble_with(*answers: Behaviour, patience: float = 5.0) -> Undelivered:
    """Return what a call ends in whose address is the secret."""
    with listening(*answers) as listener:
        url = f"{listener.url}/services/{SECRET}"
        with pytest.raises(Undelivered) as caught:
            post(Call(url, b"{}", secrets=(url,)), patience)
    assert not [part for part in SECRET.split("/") if len(part) > 5 and part in caught.value.reason]
    assert caught.value.__cause__ is None
    return caught.value


def test_what_is_taken_is_taken() -> None:
    """With its body and headers as they were."""
    with listening(answer(204)) as listener:
        assert post(Call(f"{listener.url}/x?y=1", b"abc", {"X-Own": "1"})).status == 204
    (request,) = listener.requests
    assert (request.method, request.path, request.body) == ("POST", "/x?y=1", b"abc")
    assert (request.headers["x-own"], request.headers["accept-encoding"]) == ("1", "identity")


FINAL = {400: True, 401: True, 403: True, 404: True, 410: True, 413: True, 422: True}
LATER = {408: False, 425: False, 429: False, 500: False, 502: False, 503: False, 504: False}


@pytest.mark.parametrize(("status", "is_final"), [*FINAL.items(), *LATER.items()])
def test_only_a_refusal_is_final(status: int, is_final: bool) -> None:
    """What a server may get over is tried again."""
    error = trouble_with(answer(status, "no"))
    assert (error.is_final, error.retry_after) == (is_final, None)
    assert f"answers {status}: no" in error.reason


def test_who_says_when_to_come_again_means_it() -> None:
    """In seconds, or as a date; even with a status that would be final."""
    assert trouble_with(answer(429, "", "Retry-After: 30")).retry_after == 30
    later = trouble_with(answer(503, "", f"Retry-After: {formatdate(time.time() + 90, usegmt=True)}"))
    assert later.retry_after is not None
    assert 80 < later.retry_after <= 90
    assert not trouble_with(answer(403, "", "Retry-After: 1")).is_final


RETRY_AFTER = {
    "0": 0.0,
    " 120 ": 120.0,
    "": None,
    "soon": None,
    "-5": None,
    "1e9": None,
    "inf": None,
    "nan": None,
    "٣": None,
    "9" * 400: None,
    "Thu, 01 Jan 1970 00:00:00 GMT": 0.0,
    "Thu, 99 Foo 2026 00:00:00 GMT": None,
}


@pytest.mark.parametrize(("written", "seconds"), RETRY_AFTER.items(), ids=lambda value: repr(value)[:30])
def test_retry_after_is_seconds_or_a_date(written: str, seconds: float | None) -> None:
    """Whatever else stands there says nothing."""
    assert seconds_of(written) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_breaks_the_reader(written: str) -> None:
    """It comes from anybody."""
    found = seconds_of(written)
    assert found is None or found >= 0


@pytest.mark.parametrize("behaviour", [nothing, dripping_head, dripping_body])
def test_all_of_it_ends_in_time(behaviour: Behaviour) -> None:
    """Also when there is always another byte."""
    begun = time.monotonic()
    error = trouble_with(behaviour, patience=0.6)
    assert "did not answer within" in error.reason
    assert not error.is_final
    assert time.monotonic() - begun < 5


def test_a_name_that_cannot_be_looked_up_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the resolver does meanwhile."""
    go_on, is_over = threading.Event(), threading.Event()

    def hanging(*_: object, **__: object) -> None:
        go_on.wait(20)
        is_over.set()
        raise OSError("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    begun = time.monotonic()
    with pytest.raises(Undelivered, match="did not answer within"):
        ask(Call("https://hooks.example.net"), 0.3)
    assert time.monotonic() - begun < 10
    go_on.set()
    assert is_over.wait(5)  # and what is left over of it complains of nothing


def test_an_endless_answer_is_read_to_a_bound() -> None:
    """3 GB are announced; what is read of them is what can be of use."""
    with listening(endless) as listener:
        found = post(Call(listener.url))
        assert len(found.body) == MOST_READ
    assert listener.sent < 64 * 2**20


def test_what_is_no_http_is_no_answer() -> None:
    """It may be another service on that port."""
    error = trouble_with(garbage)
    assert "no answer from 127.0.0.1" in error.reason
    assert not error.is_final


@pytest.mark.parametrize(("status", "is_final"), [(301, True), (308, True), (302, False), (303, False), (307, False)])
def test_no_redirect_is_followed(status: int, is_final: bool) -> None:
    """A secret, or what it signed, goes where the operator said."""
    with listening(answer(200)) as other:
        error = trouble_with(answer(status, "", f"Location: {other.url}/"))
        assert not other.requests
    assert "none is followed" in error.reason
    assert error.is_final is is_final


def test_nobody_there() -> None:
    """The reason names the host, and what the system said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Undelivered) as caught:
        post(Call(f"http://127.0.0.1:{port}/{SECRET}", secrets=(SECRET,)))
    assert caught.value.reason == f"no answer from 127.0.0.1 port {port}: Connection refused"
    assert not caught.value.is_final


def test_nobody_at_any_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was tried; what the system said of one of them is the reason."""
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 1)) for last in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    with pytest.raises(Undelivered) as caught:
        post(Call("http://two.invalid:1/"))
    assert caught.value.reason == "no answer from two.invalid port 1: Connection refused"


def test_a_name_that_nobody_has() -> None:
    """The port is named also where the address leaves it out."""
    with pytest.raises(Undelivered) as caught:
        post(Call(f"https://hooks.nosuch.invalid/{SECRET}", secrets=(SECRET,)))
    assert caught.value.reason.startswith("no answer from hooks.nosuch.invalid port 443: ")
    assert "Errno" not in caught.value.reason


@pytest.mark.parametrize("url", ["", "hooks", "file:///etc/passwd", "ftp://x/y", "https://", "http://[::1", "//x/y"])
def test_what_is_no_address_will_never_be_one(url: str) -> None:
    """And is not repeated."""
    with pytest.raises(Undelivered) as caught:
        ask(Call(url, secrets=(url,)))
    assert caught.value.is_final


@pytest.mark.parametrize("url", ["https://127.0.0.1:99999/", "https://127.0.0.1:x/", "https://127.0.0.1/\x00"])
def test_an_address_that_leads_nowhere_is_no_crash(url: str) -> None:
    """Whatever was written into the file of the secret."""
    with pytest.raises(Undelivered):
        ask(Call(url))


def test_a_secret_never_goes_over_plain_http() -> None:
    """But to this machine; what is only signed may."""
    with pytest.raises(Undelivered, match="use https") as caught:
        ask(Call("http://192.0.2.1/x", secrets=(SECRET,)))
    assert caught.value.is_final
    with pytest.raises(Undelivered, match=r"did not answer|no answer"):
        ask(Call("http://192.0.2.1/x"), 0.2)


def test_loopback_is_what_it_says() -> None:
    """Not a name that begins like it."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "", "::"]))


def test_what_repeats_the_secret_is_blotted() -> None:
    """A server that echoes the request must not bring it into the log."""
    error = trouble_with(answer(400, f"cannot POST /services/{SECRET}, key Xk29ZnQ8v7"))
    assert "***" in error.reason


def test_a_secret_that_is_no_header_is_not_repeated() -> None:
    """Somebody put two lines into the file of a token; the library names what it cannot send."""
    token = "ghp_first_line\nghp_second_line"
    with listening(answer(200)) as listener, pytest.raises(Undelivered) as caught:
        ask(Call(listener.url, headers={"Authorization": f"Bearer {token}"}, secrets=(token,)))
    assert "ghp_" not in caught.value.reason


@given(st.text(max_size=60), st.text(min_size=8, max_size=20))
def test_no_secret_survives_blotting(around: str, secret: str) -> None:
    """Wherever in the text it stands."""
    shown = blotted(f"{around}{secret}{around}", (secret,))
    assert secret not in shown or secret in "***" * 9 or secret in around * 2


def test_what_a_server_says_is_one_bounded_line() -> None:
    """It ends up on terminals and in logs."""
    reason = trouble_with(answer(500, "\x1b[2Jbad\r\n\x07news " + "x" * 5000)).reason
    assert reason.isprintable()
    assert "bad news" in reason.replace("[2J", "")
    assert len(reason) < 300


def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what this system trusts."""
    with listening(answer(200), tls=write_certificate(tmp_path / "tls.pem")) as listener:
        with pytest.raises(Undelivered, match="certificate"):
            post(Call(listener.url, secrets=(SECRET,)))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
        assert post(Call(listener.url, secrets=(SECRET,))).status == 200
    assert ssl.OPENSSL_VERSION


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is meant for loopback never leaves it."""
    with listening(answer(502)) as proxy, listening(answer(200)) as here:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(Call(here.url, secrets=(SECRET,))).status == 200
        with pytest.raises(Undelivered, match="502"):
            post(Call("http://hooks.example.net/x"))
    assert [request.path for request in proxy.requests] == ["http://hooks.example.net/x"]


def test_a_call_can_be_shown() -> None:
    """Without what is secret of it."""
    assert SECRET not in repr(Call(f"https://x/{SECRET}", headers={"A": SECRET}, secrets=(SECRET,)))
