"""Which server of its cloud a host says it is, and everything that is not believed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.metadata_service import TOKEN, metadata_service

from clarion_agent.net import instance as module
from clarion_agent.net import metadata_http
from clarion_agent.net.instance import read_instance, which_cloud
from clarion_agent.net.metadata_http import Answer, Question, ask_metadata_service
from clarion_protocol.errors import CloudRefused, CloudUnavailable

GUID = "02aab8a4-74ef-476e-8182-f6d2ba4166a6"
SERVERS = [("aws", "i-0123456789abcdef0"), ("gcp", "4520031799277581759"), ("azure", GUID)]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between attempts."""
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Put something at the metadata service's address that answers every request with the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(metadata_http, "SERVICE", server.getsockname())
        yield lambda said: threading.Thread(target=_answer_all, args=(server, said), daemon=True).start()
        server.shutdown(socket.SHUT_RDWR)


def _answer_all(server: socket.socket, said: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, suppress(OSError):  # whoever asked may have heard enough
            connection.recv(4096)
            connection.sendall(said)


@pytest.mark.parametrize(("cloud", "number"), SERVERS)
def test_each_cloud_says_which_server_this_is(cloud: str, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the headers and the session token that each of them demands."""
    with metadata_service(cloud, number) as service:
        monkeypatch.setattr(metadata_http, "SERVICE", service.server_address)
        assert read_instance(cloud) == f"{cloud}:{number}"


def test_no_cloud_asks_nobody() -> None:
    """A server that is in no cloud sends no packet."""
    assert read_instance("none", ask=_nobody_may_ask) == ""


def _nobody_may_ask(question: Question) -> Answer:
    raise AssertionError(question)


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer with its own machine's number."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with metadata_service(*SERVERS[1]) as service:
        monkeypatch.setattr(metadata_http, "SERVICE", service.server_address)
        assert read_instance("gcp") == "gcp:4520031799277581759"


def test_an_azure_number_has_one_spelling() -> None:
    """Azure writes it in either case; the controller compares it letter by letter."""
    assert read_instance("azure", lambda _: Answer(200, GUID.upper().encode())) == f"azure:{GUID}"


FIRMWARE: dict[str, tuple[dict[str, str], str]] = {
    "EC2 on Nitro, or on bare metal": ({"sys_vendor": "Amazon EC2", "product_name": "m7g.large"}, "aws"),
    "EC2 on Xen": ({"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"}, "aws"),
    "Compute Engine": ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, "gcp"),
    "Azure": (
        {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
        "azure",
    ),
    "Hyper-V in somebody's cellar": ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "None"}, "none"),
    "a Chromebook": ({"sys_vendor": "Google", "product_name": "Eve"}, "none"),
    "Xen elsewhere": ({"sys_vendor": "Xen", "bios_version": "4.11"}, "none"),
    "KVM": ({"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"}, "none"),
    "a machine without such tables": ({}, "none"),
}


@pytest.mark.parametrize("machine", FIRMWARE)
def test_the_firmware_names_the_cloud(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own words for it, and never by a word that others use too."""
    words, cloud = FIRMWARE[machine]
    for name, text in words.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(module, "DMI", tmp_path)
    monkeypatch.setattr(module, "CONTAINER_MARKS", ())
    assert which_cloud("auto") == cloud


def test_a_container_is_no_server_of_a_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees its machine's firmware; two on one machine would both claim to be it."""
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    monkeypatch.setattr(module, "DMI", tmp_path)
    monkeypatch.setattr(module, "CONTAINER_MARKS", (tmp_path,))
    assert which_cloud("auto") == "none"
    assert which_cloud("aws") == "aws"


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure", "none"])
def test_what_is_configured_is_not_questioned(cloud: str) -> None:
    """The firmware only speaks where agent.toml is silent."""
    assert which_cloud(cloud) == cloud


NONSENSE: dict[str, tuple[str, Answer]] = {
    "an empty answer": ("gcp", Answer(200, b"", {"metadata-flavor": "Google"})),
    "a number with a line break": ("gcp", Answer(200, b"123\n", {"metadata-flavor": "Google"})),
    "a number of another cloud": ("gcp", Answer(200, b"i-0123456789abcdef0", {"metadata-flavor": "Google"})),
    "no flavour": ("gcp", Answer(200, b"4520031799277581759")),
    "another flavour": ("gcp", Answer(200, b"4520031799277581759", {"metadata-flavor": "Vanilla"})),
    "a login page": ("azure", Answer(200, b"<html>Please log in</html>")),
    "a redirect": ("azure", Answer(302, b"", {"location": "http://169.254.169.254/elsewhere"})),
    "bytes that are no text": ("azure", Answer(200, b"\xff" * 36)),
    "a token with a header in it": ("aws", Answer(200, b"token\r\nX-Evil: 1")),
    "no token": ("aws", Answer(404)),
    "a server with too much to do": ("aws", Answer(503)),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_no_instance(case: str) -> None:
    """After three attempts, with one sentence and with what to do if this is no cloud at all."""
    cloud, answer = NONSENSE[case]
    asked: list[Question] = []
    with pytest.raises(CloudUnavailable) as caught:
        read_instance(cloud, lambda question: asked.append(question) or answer)  # type: ignore[func-returns-value]
    assert len(asked) == 3
    assert "does not say which server this is" in caught.value.message
    assert 'cloud = "none"' in str(caught.value.hint)


def test_a_session_token_is_used_and_never_written_down() -> None:
    """The second question carries it, an error does not."""
    answers = iter([Answer(200, TOKEN.encode()), Answer(200, b"nonsense")] * 3)
    headers = []

    def ask(question: Question) -> Answer:
        headers.append(question.headers)
        return next(answers)

    with pytest.raises(CloudUnavailable) as caught:
        read_instance("aws", ask)
    assert headers[1] == {"X-aws-ec2-metadata-token": TOKEN}
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_a_service_that_refuses_is_asked_once(cloud: str) -> None:
    """It is switched off for this server: asking again changes nothing, and the hint says how to switch it on."""
    asked = []
    with pytest.raises(CloudRefused, match="403") as caught:
        read_instance(cloud, lambda question: asked.append(question) or Answer(403))  # type: ignore[func-returns-value]
    assert len(asked) == 1
    assert caught.value.hint


def test_a_service_that_comes_up_late_is_waited_for() -> None:
    """At boot the first attempts may find nobody."""
    answers: list[Answer | OSError] = [OSError("no route to host"), Answer(503), Answer(200, GUID.encode())]

    def ask(_: Question) -> Answer:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert read_instance("azure", ask) == f"azure:{GUID}"


QUESTION = Question("/", {})
OK = b"HTTP/1.1 200 OK\r\n"
BROKEN: dict[str, bytes] = {
    "silence": b"",
    "garbage": b"\xff" * 64,
    "headers that end in the middle": OK + b"Content-Le",
    "a body that ends in the middle": OK + b"Content-Length: 20\r\n\r\ni-0123456789",
    "a body whose length nobody said": OK + b"\r\ni-0123456789",
    "chunks that end in the middle": OK + b"Transfer-Encoding: chunked\r\n\r\n10\r\ni-012345",
    "more than it may be": OK + b"Content-Length: 2000\r\n\r\n" + b"1" * 2000,
    "without an end": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"1" * 1024 + b"\r\n400\r\n1",
    "a hundred thousand headers": OK + b"a: b\r\n" * 100_000,
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_is_not_whole_is_none(case: str, raw: Callable[[bytes], None]) -> None:
    """The number of another server may begin like this one's."""
    raw(BROKEN[case])
    with pytest.raises(OSError, match=r".+"):
        ask_metadata_service(QUESTION)


def test_a_whole_answer_is_read(raw: Callable[[bytes], None]) -> None:
    """Status, body and headers."""
    raw(OK + b"Content-Length: 2\r\nMetadata-Flavor: Google\r\n\r\nhi")
    answer = ask_metadata_service(QUESTION)
    assert (answer.status, answer.body, answer.headers["metadata-flavor"]) == (200, b"hi", "Google")


@pytest.mark.parametrize("said", [OK, OK + b"Content-Length: 1000\r\n\r\n"], ids=["headers", "body"])
def test_bytes_that_drip_are_not_waited_for_for_ever(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte in time never keeps the whole exchange from ending."""
    monkeypatch.setattr(metadata_http, "WHOLE_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(metadata_http, "SERVICE", server.getsockname())
        thread = threading.Thread(target=_drip, args=(server, said))
        thread.start()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            ask_metadata_service(QUESTION)
        assert time.monotonic() - began < 2
        thread.join()


def _drip(server: socket.socket, said: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        try:
            connection.sendall(said)
            for _ in range(100):
                connection.sendall(b"a")
                time.sleep(0.05)
        except OSError:
            return
