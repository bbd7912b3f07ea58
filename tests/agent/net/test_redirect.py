"""Packages that lie elsewhere: a store that redirects, honestly or not, and what a host follows."""

from __future__ import annotations

import logging
import random
import re
import ssl
import time
import traceback
from pathlib import Path

import pytest
from tests.agent.net.test_fetch import certificate_for, drip, hang_up, stay_silent
from tests.stores import HASTE, Behaviour, honest, http, puppet

from clarion_agent.config import Config
from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.redirect import NotFollowed, judge
from clarion_protocol.errors import ClarionError, StoreMisbehaved, StoreUnavailable

CONTENT = random.Random(5).randbytes(200_000)
TOTAL = len(CONTENT)
PATH = "shop/shop-1.0.0.tar.zst"
SECRET = "X-Amz-Signature=5ec4e7"
QUERY = f"?X-Amz-Expires=3600&{SECRET}"
SPANS = [(offset, 1_000) for offset in range(0, TOTAL, 1_000)]


def to(url: str, status: str = "307 Temporary Redirect") -> Behaviour:
    """Redirect to a signed address at `url`."""
    return http(status, location=f"{url}/bucket/{PATH}{QUERY}")


def fetched(url: str, into: Path, *origins: str, spans: list[tuple[int, int]] | None = None) -> bytes:
    """Fetch spans of the package (all of it) and return the file."""
    Fetcher(url, HASTE, origins).fetch(PATH, into, spans or [(0, TOTAL)], total=TOTAL)
    return into.read_bytes()


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_a_package_is_fetched_from_where_the_store_redirects(status: str, tmp_path: Path) -> None:
    """The address is asked as it was signed, and its query goes nowhere else."""
    with puppet(honest(CONTENT)) as bucket, puppet(to(bucket.url, status)) as store:
        assert fetched(store.url, tmp_path / "got", bucket.url) == CONTENT
        assert bucket.requests[0].startswith(f"GET /bucket/{PATH}{QUERY} HTTP/1.1\r\n".encode())
        assert b"host: " + bucket.url.removeprefix("http://").encode() in bucket.requests[0].lower()


def test_hundreds_of_spans_cost_one_question(tmp_path: Path) -> None:
    """Where a file has moved to is remembered while it is fetched, and no longer."""
    with puppet(honest(CONTENT)) as bucket, puppet(to(bucket.url)) as store:
        fetcher = Fetcher(store.url, HASTE, [bucket.url])
        for times in (1, 2):
            fetcher.fetch(PATH, tmp_path / "got", SPANS, total=TOTAL)
            assert (len(store.requests), len(bucket.requests)) == (times, times * len(SPANS))
    assert (tmp_path / "got").read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden"])
def test_an_address_that_expires_on_the_way_is_asked_for_anew(status: str, tmp_path: Path) -> None:
    """The clouds say so in three ways; the store is told that its old answer is of no use."""
    good, expired = honest(CONTENT), http(status, b"<Error><Message>Request has expired</Message></Error>")
    with puppet(good, good, expired, good, expired, good) as bucket, puppet(to(bucket.url)) as store:
        spans = [(0, 50_000), (50_000, 50_000), (100_000, 50_000), (150_000, 50_000)]
        assert fetched(store.url, tmp_path / "got", bucket.url, spans=spans) == CONTENT
        assert [b"no-cache" in request for request in store.requests] == [False, True, True]


def test_an_address_that_is_refused_at_once_and_again_is_told(tmp_path: Path) -> None:
    """Two addresses were tried; a third would be no better."""
    with puppet(http("403 Forbidden", b"<Error/>")) as bucket, puppet(to(bucket.url)) as store:
        with pytest.raises(StoreMisbehaved, match="refuses to hand out") as caught:
            fetched(store.url, tmp_path / "got", bucket.url)
        assert (len(store.requests), len(bucket.requests)) == (2, 2)
        assert "clock" in str(caught.value.hint)


def test_a_transfer_that_breaks_goes_on_there(tmp_path: Path) -> None:
    """From the byte that was reached, without another question."""
    with puppet(honest(CONTENT, cut=TOTAL // 4)) as bucket, puppet(to(bucket.url)) as store:
        assert fetched(store.url, tmp_path / "got", bucket.url) == CONTENT
        assert (len(store.requests), len(bucket.requests)) == (1, 4)


NOT_FOLLOWED = {
    "to the cloud's metadata service": ("http://169.254.169.254/latest/meta-data/iam", "http://169.254.169.254"),
    "to a file": ("file:///etc/shadow", "no address|http"),
    "to another protocol": ("ftp://bucket/x", "http"),
    "to another host in plain text": ("http://bucket.example/x", "http://bucket.example"),
    "to another port of a listed host": ("http://127.0.0.1:9/x", "http://127.0.0.1:9"),
    "to another path of the store itself": ("/packages/other", "http"),
    "to a host whose scheme is the store's": ("//bucket.example/x", "http"),
    "with a name and a password": (f"https://joe:{SECRET}@bucket.example/x", "no name and no password"),
    "with a listed host as the name": ("http://127.0.0.1:80@evil.example/x", "no name and no password"),
    "to a host that two parsers read differently": ("https://evil.example\\.good.example/x", "no server"),
    "to a port that cannot be": ("https://bucket.example:0/x", "port 0"),
    "to nowhere": ("https://", "http"),
    "to an address with a space": ("https://bucket.example/a b", "no address"),
    "to an address with another header in it": ("https://bucket.example/\x0bx-evil: 1", "no address"),
    "to an address that is not ASCII": ("https://bucket.example/\u00f6", "no address"),
    "to an address without end": (f"https://bucket.example/{'x' * 9000}", "no address"),
}  # fmt: skip


LISTED = ("http://127.0.0.1:80", "http://minio.internal:9000", "https://listed.example")


@pytest.mark.parametrize("allowed", [(), LISTED], ids=["by a host that lists none", "by a host that lists its own"])
@pytest.mark.parametrize(("location", "words"), NOT_FOLLOWED.values(), ids=NOT_FOLLOWED.keys())
def test_a_redirect_is_not_followed(location: str, words: str, allowed: tuple[str, ...]) -> None:
    """It says where to, never with what; no name is looked up and no connection is made."""
    with pytest.raises(NotFollowed, match=words) as caught:
        judge(location, allowed)
    assert SECRET not in f"{caught.value.why} {caught.value.hint}"


@pytest.mark.parametrize(
    "location",
    [
        "https://bucket.example/x",
        "https://listed.example:8443/x",
        "http://listed.example/x",
        "https://minio.internal:9000/x",
    ],
    ids=["another host", "another port", "in plain text", "another scheme"],
)
def test_a_host_that_lists_origins_goes_to_no_other(location: str) -> None:
    """Over https neither; the hint is the whole line, with what is listed already."""
    with pytest.raises(NotFollowed, match=r"package_origins in agent\.toml") as caught:
        judge(location, LISTED)
    origin = location.removesuffix("/x")
    listed = ", ".join(f'"{each}"' for each in (*LISTED, origin))
    assert f"to {origin}, " in caught.value.why
    assert f"package_origins = [{listed}]" in str(caught.value.hint)


def test_what_is_not_followed_says_what_would_have_to_be_listed(tmp_path: Path) -> None:
    """One line to copy into agent.toml; it is not asked for again."""
    with puppet(honest(CONTENT)) as bucket, puppet(to(bucket.url)) as store:
        with pytest.raises(StoreMisbehaved) as caught:
            fetched(store.url, tmp_path / "got")
        assert f'package_origins = ["{bucket.url}"]' in str(caught.value.hint)
        assert "agent.toml" in str(caught.value.hint)
        assert (len(store.requests), len(bucket.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("location", "origin", "target"),
    [
        ("https://b.s3.amazonaws.com/k%2B1?Sig=1%2F2", "https://b.s3.amazonaws.com", "/k%2B1?Sig=1%2F2"),
        ("https://b.example:8443", "https://b.example:8443", "/"),
        ("http://Minio.Internal:9000/x#fragment", "http://minio.internal:9000", "/x"),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]", "/x"),
    ],
)  # fmt: skip
def test_a_redirect_is_followed_as_it_was_signed(location: str, origin: str, target: str) -> None:
    """To any server over https, at any port, and to a listed one however it is spelled; escapes stay as they are."""
    listed = [origin.upper().replace("HTTP", "http", 1).replace("httpS", "https", 1)]
    for allowed in (listed, [] if origin.startswith("https:") else listed):
        elsewhere = judge(location, allowed)
        assert (elsewhere.origin, elsewhere.target) == (origin, target)
        assert target == "/" or target not in repr(elsewhere)


@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "308 Permanent Redirect", "300 Multiple Choices"])
def test_other_redirects_are_not_followed(status: str, tmp_path: Path) -> None:
    """Nothing moves for ever, and no other question is asked than that for the file."""
    with puppet(honest(CONTENT)) as bucket, puppet(to(bucket.url, status)) as store:
        with pytest.raises(StoreMisbehaved, match="not followed"):
            fetched(store.url, tmp_path / "got", bucket.url)
        assert bucket.requests == []


def test_a_redirect_to_nowhere_is_told(tmp_path: Path) -> None:
    """A 307 without a Location."""
    with puppet(http("307 Temporary Redirect")) as store, pytest.raises(StoreMisbehaved, match="not followed"):
        fetched(store.url, tmp_path / "got")


@pytest.mark.parametrize("path", ["/metadata/timestamp.json", "/packages/policy/x.json"])
def test_metadata_is_never_redirected(path: str) -> None:
    """Nor is a policy: what decides is asked for in one place."""
    with puppet(http("200 OK", b"{}")) as bucket, puppet(to(bucket.url)) as store:
        with pytest.raises(StoreMisbehaved, match="not followed"):
            Fetcher(store.url, HASTE, [bucket.url]).read(path, limit=1000)
        assert bucket.requests == []


RANGED = f"HTTP/1.1 206 X\r\ncontent-range: bytes 0-{TOTAL - 1}/{TOTAL}\r\n".encode()
BAD_BUCKETS: dict[str, tuple[Behaviour, str, type[ClarionError]]] = {
    "redirects again": (to("https://third.example"), "not followed", StoreMisbehaved),
    "redirects to itself": (http("302 Found", location="/"), "not followed", StoreMisbehaved),
    "shows a login page": (http("200 OK", b"<html>", content_type="text/html"), "HTML", StoreMisbehaved),
    "has no such object": (http("404 Not Found", b"<Error/>"), "has no", StoreMisbehaved),
    "ignores the range": (http("200 OK", CONTENT + b"x"), "where", StoreMisbehaved),
    "sends another range": (
        http("206 X", CONTENT[1:], content_range=f"bytes 1-{TOTAL - 1}/{TOTAL}"), "is due", StoreMisbehaved,
    ),
    "packs what it sends": (
        http("206 X", CONTENT, content_encoding="gzip", content_range=f"bytes 0-{TOTAL - 1}/{TOTAL}"),
        "encoded", StoreMisbehaved,
    ),
    "resets": (hang_up, "breaks off", StoreUnavailable),
    "is silent": (stay_silent, "silent", StoreUnavailable),
    "is too busy": (http("503 Slow Down"), "status 503", StoreUnavailable),
    "drips headers": (drip(b"HTTP/1.1 206 X\r\nx-slow: ", b"y"), "breaks off", StoreUnavailable),
    "drips": (drip(RANGED + f"content-length: {TOTAL}\r\n\r\n".encode(), b"y"), "KiB/s", StoreUnavailable),
    "does not speak HTTP": (http("nonsense"), "HTTP", StoreMisbehaved),
}  # fmt: skip


@pytest.mark.parametrize(("behaviour", "words", "error"), BAD_BUCKETS.values(), ids=BAD_BUCKETS.keys())
def test_a_bucket_is_believed_no_more_than_a_store(
    behaviour: Behaviour, words: str, error: type[ClarionError], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One sentence that names both, in time; and nowhere in it, in its causes or in a log line, the signed secret."""
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with puppet(behaviour) as bucket, puppet(to(bucket.url)) as store:
        with pytest.raises(error, match=words) as caught:
            fetched(store.url, tmp_path / "got", bucket.url)
        assert bucket.url in caught.value.message
        assert store.url in caught.value.message
        assert len(store.requests) == 1
    assert time.monotonic() - began < 6
    told = str(caught.value) + caplog.text + "".join(traceback.format_exception(caught.value))
    assert SECRET not in told


def test_other_bytes_are_the_core_s_to_refuse(tmp_path: Path) -> None:
    """Of the right length and range, they are fetched; nothing here believes them."""
    with puppet(honest(bytes(TOTAL))) as bucket, puppet(to(bucket.url)) as store:
        assert fetched(store.url, tmp_path / "got", bucket.url) == bytes(TOTAL)


def test_a_bucket_that_cannot_be_reached_is_told_with_the_way_out(tmp_path: Path) -> None:
    """A host without a way to the cloud lets the controller pass the bytes on."""
    with puppet(to("http://127.0.0.1:1")) as store, pytest.raises(StoreUnavailable, match="does not answer") as caught:
        fetched(store.url, tmp_path / "got", "http://127.0.0.1:1")
    assert 'deliver = "proxy"' in str(caught.value.hint)


def test_agent_toml_says_where_the_store_is_and_where_it_may_redirect(tmp_path: Path) -> None:
    """`package_url` in place of what the controller said; without it, what the controller said."""
    with puppet(honest(CONTENT)) as bucket, puppet(to(bucket.url)) as relay:
        config = Config(package_url=relay.url, package_origins=(bucket.url,))
        Fetcher.of(config, "http://controller.invalid:7414", HASTE).fetch(PATH, tmp_path / "got", [(0, 5)], total=TOTAL)
    assert (tmp_path / "got").read_bytes() == CONTENT[:5]
    assert Fetcher.of(Config(), "http://controller.invalid:7414").base_url == "http://controller.invalid:7414"


def test_trouble_with_a_store_says_whether_agent_toml_named_it(tmp_path: Path) -> None:
    """A relay that is gone is looked for in this host's own file, not at the controller; also behind a redirect."""
    with puppet(http("500 Broken")) as bucket, puppet(to(bucket.url)) as store:
        told, own = Config(package_origins=(bucket.url,)), Config(package_url=store.url, package_origins=(bucket.url,))
        for config, words in (
            (told, f"{store.url} redirects"),
            (own, f"{store.url} (package_url in agent.toml) redir"),
        ):
            with pytest.raises(StoreUnavailable, match=re.escape(words)):
                Fetcher.of(config, store.url, HASTE).fetch(PATH, tmp_path / "got", [(0, 5)], total=TOTAL)
    away = "http://127.0.0.1:1"
    with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1 \(package_url in agent.toml\) does not answer"):
        Fetcher.of(Config(package_url=away), "http://controller.invalid", HASTE).read("/metadata/x", limit=1)
    with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1 does not answer"):
        Fetcher.of(Config(), away, HASTE).read("/metadata/x", limit=1)


@pytest.mark.parametrize(
    ("name", "is_vouched_for", "words"),
    [
        pytest.param("localhost", True, "", id="a bucket that proves its name"),
        pytest.param("localhost", False, "certificate", id="one that nobody vouches for"),
        pytest.param("bucket.example", True, "certificate|match", id="one that proves another name"),
    ],
)
def test_over_https_a_bucket_proves_its_name(
    name: str, is_vouched_for: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the authorities of this system, with no entry in agent.toml; otherwise it is not even asked."""
    pem = certificate_for(name, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem if is_vouched_for else tmp_path / "none"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with puppet(honest(CONTENT), tls=context) as bucket:
        url = bucket.url.replace("http://127.0.0.1", "https://localhost")
        with puppet(to(url)) as store:
            if not words:
                assert fetched(store.url, tmp_path / "got") == CONTENT
                return
            with pytest.raises(StoreMisbehaved, match=words) as caught:
                fetched(store.url, tmp_path / "got")
            assert "ca-certificates" in str(caught.value.hint)
            assert SECRET not in str(caught.value) + "".join(traceback.format_exception(caught.value))
            assert bucket.requests == []
