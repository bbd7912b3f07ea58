"""Fetching from real sockets: an honest store, a broken one, and a hostile one."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.stores import HASTE, Behaviour, cluster_in, honest, http, puppet, say, serving

from clarion_agent.net.fetch import Fetcher
from clarion_protocol.errors import (
    BadConfig,
    ClarionError,
    HostError,
    NetworkError,
    NoSpace,
    StoreMisbehaved,
    StoreUnavailable,
)

CONTENT = random.Random(1).randbytes(300_000)
PATH = "shop/shop-1.0.0.tar.zst"
TOTAL = len(CONTENT)
DAY = timedelta(days=1)


def hang_up(connection: socket.socket, _: bytes) -> None:
    """Reset the connection without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stay_silent(connection: socket.socket, _: bytes) -> None:
    """Say nothing until the reader has gone."""
    connection.recv(1)


def drip(head: bytes, drop: bytes) -> Behaviour:
    """Answer with `head`, then with a drop every 50 ms."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        for _drop in range(50):
            connection.sendall(drop)
            time.sleep(0.05)

    return behave


def endless(head: bytes, block: bytes) -> Behaviour:
    """Answer with `head`, then with blocks until the reader has gone."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(block)

    return behave


RANGED = f"HTTP/1.1 206 X\r\ncontent-range: bytes 0-{TOTAL - 1}/{TOTAL}\r\n".encode()

WRONG = {
    "a web page instead of the package": (http("200 OK", b"<html>", content_type="text/html; charset=utf-8"), "HTML"),
    "a web page of a proxy's own type": (http("200 OK", b"<html>Sign in"), f"13 bytes where {TOTAL}"),
    "a redirect to the cloud's own metadata": (http("302 Found", location="http://169.254.169.254/"), "redirects"),
    "a redirect to a file": (http("301 Moved", location="file:///etc/shadow"), "redirects"),
    "a redirect to itself": (http("307 Temporary Redirect", location=f"/packages/{PATH}"), "redirects"),
    "no such file": (http("404 Not Found"), "has no"),
    "not for you": (http("403 Forbidden"), "has no"),
    "another status": (http("204 No Content"), "status 204"),
    "a range that is not satisfiable": (http("416 Range Not Satisfiable"), "status 416"),
    "an encoding that nobody asked for": (
        http("206 X", CONTENT, content_encoding="gzip", content_range=f"bytes 0-{TOTAL - 1}/{TOTAL}"),
        "encoded as 'gzip'",
    ),
    "too little": (http("200 OK", CONTENT[:-1]), f"{TOTAL - 1} bytes where {TOTAL}"),
    "too much": (http("200 OK", CONTENT + b"x"), f"{TOTAL + 1} bytes where {TOTAL}"),
    "a range of another file": (
        http("206 X", CONTENT, content_range=f"bytes 0-{TOTAL - 1}/{TOTAL + 1}"),
        f"'bytes 0-{TOTAL - 1}/{TOTAL + 1}'",
    ),
    "a range that begins elsewhere": (
        http("206 X", CONTENT[1:], content_range=f"bytes 1-{TOTAL - 1}/{TOTAL}"),
        f"'bytes 1-{TOTAL - 1}/{TOTAL}'",
    ),
    "the right range with a body of another length": (
        http("206 X", b"x", content_range=f"bytes 0-{TOTAL - 1}/{TOTAL}"),
        "is due",
    ),
    "several ranges in one": (http("206 X", CONTENT, content_type="multipart/byteranges; boundary=x"), "no range"),
    "a body without end": (
        endless(RANGED + b"transfer-encoding: chunked\r\n\r\n", b"4000\r\n" + bytes(0x4000) + b"\r\n"),
        "more of",
    ),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"y" * 1000 + b"\r\n"), "HTTP"),
    "something else than HTTP": (say(b"SSH-2.0-OpenSSH_9.2\r\n"), "HTTP"),
}  # fmt: skip

AWAY = {
    "resets": (hang_up, "breaks off"),
    "closes without a word": (say(b""), "breaks off"),
    "silence": (stay_silent, "silent"),
    "a headline, then silence": (drip(b"HTTP/1.1 200 OK\r\n", b""), "silent"),
    "headers that drip": (drip(b"HTTP/1.1 200 OK\r\nx-slow: ", b"y"), "breaks off"),
    "a body that drips": (drip(RANGED + f"content-length: {TOTAL}\r\n\r\n".encode(), b"y"), "KiB/s"),
    "an answer that is always 'go on'": (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "breaks off"),
    "a server that fails": (http("500 Internal Server Error"), "status 500"),
    "too many requests": (http("429 Too Many Requests"), "status 429"),
    "a truncated body, each time": (honest(CONTENT, cut=0), "breaks off"),
    "an end without a length": (say(RANGED + b"connection: close\r\n\r\n"), "breaks off"),
}
PASSING = {name: behaviour for name, (behaviour, words) in AWAY.items() if words != "KiB/s"}


def fetched(url: str, into: Path, spans: list[tuple[int, int]] | None = None) -> bytes:
    """Fetch spans of the package (all of it) and return the file."""
    Fetcher(url, HASTE).fetch(PATH, into, spans or [(0, TOTAL)], total=TOTAL)
    return into.read_bytes()


@pytest.mark.parametrize(("behaviour", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_is_told_and_not_asked_for_again(behaviour: Behaviour, words: str, tmp_path: Path) -> None:
    """One request, one sentence about what is wrong, and nowhere else is asked."""
    with puppet(behaviour) as server:
        with pytest.raises(StoreMisbehaved) as caught:
            fetched(server.url, tmp_path / "got")
        assert words in caught.value.message
        assert len(server.requests) == 1


@pytest.mark.parametrize(("behaviour", "words"), AWAY.values(), ids=AWAY.keys())
def test_a_store_that_is_away_is_given_up_in_time(behaviour: Behaviour, words: str, tmp_path: Path) -> None:
    """Whatever the store does to be waited for, the wait ends, with one sentence."""
    began = time.monotonic()
    with puppet(behaviour) as server:
        with pytest.raises(StoreUnavailable) as caught:
            fetched(server.url, tmp_path / "got")
        assert words in caught.value.message
        assert caught.value.hint
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("behaviour", PASSING.values(), ids=PASSING.keys())
def test_one_failure_that_may_pass_is_overcome(behaviour: Behaviour, tmp_path: Path) -> None:
    """The second attempt, at an honest store, brings every byte; only slowness is not tried again."""
    with puppet(behaviour, honest(CONTENT)) as server:
        assert fetched(server.url, tmp_path / "got") == CONTENT


def test_a_store_that_does_not_listen_is_unavailable(tmp_path: Path) -> None:
    """A refused connection is tried again, then told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(StoreUnavailable, match="does not answer"):
        fetched(url, tmp_path / "got")


def test_a_name_that_does_not_resolve_is_unavailable(tmp_path: Path) -> None:
    """DNS trouble is trouble of the way, not of the store."""
    with pytest.raises(StoreUnavailable, match="does not answer"):
        fetched("http://no-such-host.invalid", tmp_path / "got")


def test_a_transfer_that_breaks_at_every_tenth_goes_on_where_it_was(tmp_path: Path) -> None:
    """Progress renews patience, and no byte is fetched twice."""
    with puppet(honest(CONTENT, cut=TOTAL // 10)) as server:
        assert fetched(server.url, tmp_path / "got") == CONTENT
        assert len(server.requests) == 10
        assert b"bytes=270000-299999" in server.requests[-1]


def test_a_busy_store_is_waited_for(tmp_path: Path) -> None:
    """503 with Retry-After does not use up the attempts."""
    busy = http("503 Service Unavailable", retry_after="0")
    with puppet(*[busy] * (HASTE.attempts * 3), honest(CONTENT)) as server:
        assert fetched(server.url, tmp_path / "got") == CONTENT


def test_spans_are_written_at_their_offsets(tmp_path: Path) -> None:
    """Only what was asked for is fetched; the rest of the file is left alone."""
    into = tmp_path / "got"
    into.write_bytes(b"\xff" * TOTAL)
    with puppet(honest(CONTENT)) as server:
        got = fetched(server.url, into, [(10, 5), (1_000, 200_000)])
    expected = bytearray(b"\xff" * TOTAL)
    expected[10:15], expected[1_000:201_000] = CONTENT[10:15], CONTENT[1_000:201_000]
    assert got == bytes(expected)


def test_the_whole_file_where_a_span_was_asked_for_is_refused(tmp_path: Path) -> None:
    """A cache that ignores Range must not quietly cost a hundred times the bytes."""
    with puppet(http("200 OK", CONTENT)) as server, pytest.raises(StoreMisbehaved, match="ignores Range"):
        fetched(server.url, tmp_path / "got", [(10, 5)])


def test_a_plain_server_without_ranges_is_enough_for_whole_files(tmp_path: Path) -> None:
    """Status 200 is accepted where the whole file was asked for."""
    with puppet(http("200 OK", CONTENT)) as server:
        assert fetched(server.url, tmp_path / "got") == CONTENT


def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that a login shell sets has no say in what a server installs."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with puppet(honest(CONTENT)) as server:
        assert fetched(server.url, tmp_path / "got") == CONTENT


def test_a_full_disk_is_told_as_such() -> None:
    """ENOSPC is the host's fault, not the store's, and is not tried again."""
    with puppet(honest(CONTENT)) as server:
        with pytest.raises(NoSpace, match="no space left"):
            Fetcher(server.url, HASTE).fetch(PATH, Path("/dev/full"), [(0, TOTAL)], total=TOTAL)
        assert len(server.requests) == 1


def test_a_symlink_is_not_written_through(tmp_path: Path) -> None:
    """Whoever planted a link in the workshop gets nothing written elsewhere."""
    (tmp_path / "got").symlink_to(tmp_path / "elsewhere")
    with puppet(honest(CONTENT)) as server, pytest.raises(HostError):
        fetched(server.url, tmp_path / "got")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("url", ["", "ftp://store", "store:80", "file:///etc", "http://", "http://store/?x=1"])
def test_only_http_addresses_are_stores(url: str) -> None:
    """Anything else is a mistake in configuration."""
    with pytest.raises(BadConfig):
        Fetcher(url)


def certificate_for(name: str, folder: Path) -> Path:
    """Make a certificate that nobody has signed, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + DAY)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "tls.pem"
    path.write_bytes(secret + pem)
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """Over HTTPS the store must prove its name; there is no way to switch that off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_for("localhost", tmp_path))

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"x")

    with puppet(answer, tls=context) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(StoreMisbehaved, match="certificate"):
            fetched(url, tmp_path / "got")
        assert server.requests == []


def test_what_is_missing_reads_as_none_and_what_is_too_long_is_refused() -> None:
    """Small files come whole or not at all."""
    with puppet(http("404 Not Found")) as server:
        assert Fetcher(server.url, HASTE).read("/metadata/9.root.json", limit=10) is None
    with puppet(http("200 OK", b"x" * 11)) as server, pytest.raises(StoreMisbehaved, match="more of"):
        Fetcher(server.url, HASTE).read("/metadata/timestamp.json", limit=10)


def test_our_own_store_serves_a_real_package(tmp_path: Path) -> None:
    """Fetcher and package store agree, on whole files and on spans, at versions with a plus."""
    cluster = cluster_in(tmp_path)
    content = random.Random(2).randbytes(3_000_000)
    release = cluster.publish("1.0.0+build.7", content=content).release
    package = (cluster.repository.packages / release.path).read_bytes()
    with serving(cluster.home / "store") as url:
        fetcher = Fetcher(url, HASTE)
        fetcher.fetch(release.path, tmp_path / "whole", [(0, release.length)], total=release.length)
        fetcher.fetch(release.path, tmp_path / "part", [(5, 7), (100, 2_000_000)], total=release.length)
    assert (tmp_path / "whole").read_bytes() == package
    assert (tmp_path / "part").read_bytes()[100 : 100 + 2_000_000] == package[100 : 100 + 2_000_000]


def test_every_failure_is_the_networks(tmp_path: Path) -> None:
    """A report can say whose fault it was by the code alone."""
    with puppet(http("500 Oops")) as server, pytest.raises(NetworkError) as caught:
        fetched(server.url, tmp_path / "got")
    assert isinstance(caught.value, ClarionError)
    assert caught.value.code == "network.store_unavailable"
