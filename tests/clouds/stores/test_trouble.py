"""What stores say when a cloud refuses, is silent, breaks off or talks nonsense: whose fault it is, and what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clouds.stores.places import BUCKET, AzurePlace, GcsPlace, Place, S3Place, put
from tests.clouds.stores.surly import Answer, answering, cutting
from tests.ports import free_port

from clarion_controller.stores.azure import AzureStore
from clarion_controller.stores.store import Store
from clarion_protocol.errors import BadConfig, BadContent, ClarionError, CloudRefused, CloudUnavailable

pytestmark = pytest.mark.timeout(120, func_only=True)

KEY = "shop/shop-1.0.0.tar.zst"
CALLS: dict[str, Callable[[Store, Path], Any]] = {
    "put": lambda store, folder: put(store, KEY, b"x" * 1000, folder),
    "get": lambda store, _: list(store.get(KEY)),
    "head": lambda store, _: store.head(KEY),
    "list": lambda store, _: list(store.list()),
    "delete": lambda store, _: store.delete(KEY),
}


def said(cloud: str, status: int, code: str = "") -> Answer:
    """Return an error as the cloud words it."""
    if cloud == "gcs":
        body = f'{{"error": {{"code": {status}, "message": "{code}", "errors": [{{"reason": "{code}"}}]}}}}'
        return Answer(status, body.encode(), {"Content-Type": "application/json"})
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>As it says.</Message></Error>'
    return Answer(status, body.encode(), {"Content-Type": "application/xml", "x-ms-error-code": code})


MISSING = {"s3": said("s3", 404, "NoSuchKey"), "gcs": said("gcs", 404), "azure": said("azure", 404, "BlobNotFound")}
PLACES: dict[str, Callable[[str], Place]] = {
    "s3": S3Place,
    "gcs": GcsPlace,
    "azure": lambda url: AzurePlace(f"{url}/devstoreaccount1"),
}
CLOUDS = list(PLACES)


def call_of(verb: str, path: str) -> str:
    """Return which call of a store a request is for; "bucket" if it only looks whether that is there."""
    if verb in ("PUT", "POST"):
        return "put"
    if verb == "DELETE":
        return "delete"
    if "maxResults=1" in path or (verb == "HEAD" and path.rstrip("/").endswith(BUCKET)):
        return "bucket"
    if verb == "HEAD" or (path.startswith("/storage/v1/b/") and "/o/" in path and "alt=media" not in path):
        return "head"
    return "list" if any(word in path for word in ("list-type=2", "comp=list", "/o?")) else "get"


@pytest.fixture(autouse=True)
def account_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give azure a key that opens nothing."""
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")


def trouble(cloud: str, call: str, answer: Answer, folder: Path) -> ClarionError:
    """Return how a call ends whose own request is answered so; before it, nothing is there."""

    def answer_to(verb: str, path: str) -> Answer:
        asked = call_of(verb, path)
        if asked == "bucket":
            return Answer(200, b'{"items": []}', {"Content-Type": "application/json"})
        return answer if asked == call else MISSING[cloud]

    with answering(answer_to) as url, pytest.raises(ClarionError) as caught:
        CALLS[call](PLACES[cloud](url).open(), folder)
    return caught.value


PERMISSIONS = {
    "s3": ("AccessDenied", "s3:PutObject s3:GetObject s3:GetObject s3:ListBucket s3:DeleteObject"),
    "gcs": (
        "forbidden",
        "storage.objects.create storage.objects.get storage.objects.get storage.objects.list storage.objects.delete",
    ),
    "azure": ("AuthorizationPermissionMismatch", "blobs/write blobs/read blobs/read blobs/read blobs/delete"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_missing_permission_is_named(cloud: str, call: str, tmp_path: Path) -> None:
    """The hint says what to allow, in the cloud's own words."""
    code, permissions = PERMISSIONS[cloud]
    error = trouble(cloud, call, said(cloud, 403, code), tmp_path)
    assert type(error) is CloudRefused
    assert dict(zip(CALLS, permissions.split(), strict=True))[call] in (error.hint or "")


def test_s3_says_forbidden_also_for_what_is_missing(tmp_path: Path) -> None:
    """Without s3:ListBucket it does; the hint says so."""
    error = trouble("s3", "get", said("s3", 403, "AccessDenied"), tmp_path)
    assert "or has no such object" in error.message
    assert "s3:ListBucket" in (error.hint or "")


WRONG_CREDENTIALS = {
    "a key that AWS does not know": ("s3", 403, "InvalidAccessKeyId"),
    "a secret that does not fit": ("s3", 403, "SignatureDoesNotMatch"),
    "a token that has expired": ("s3", 400, "ExpiredToken"),
    "a clock that is wrong": ("s3", 403, "RequestTimeTooSkewed"),
    "a token that Google does not take": ("gcs", 401, "authError"),
    "a key that Azure does not take": ("azure", 403, "AuthenticationFailed"),
    "a token that Azure does not take": ("azure", 401, "InvalidAuthenticationInfo"),
}


@pytest.mark.parametrize(("cloud", "status", "code"), WRONG_CREDENTIALS.values(), ids=WRONG_CREDENTIALS.keys())
def test_wrong_credentials_are_told_from_missing_permissions(
    cloud: str, status: int, code: str, tmp_path: Path
) -> None:
    """The hint says how to get others."""
    error = trouble(cloud, "list", said(cloud, status, code), tmp_path)
    assert type(error) is CloudRefused
    assert "forbids" not in error.message
    assert error.hint


CHANGED = {
    "s3": said("s3", 400, "BadDigest"),
    "gcs": said("gcs", 400, "Provided CRC32C does not match the calculated one"),
    "azure": said("azure", 400, "Md5Mismatch"),
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_bytes_that_changed_on_their_way_are_not_stored(cloud: str, tmp_path: Path) -> None:
    """The cloud compares what came with what was hashed here (moto and fake-gcs-server do not)."""
    assert type(trouble(cloud, "put", CHANGED[cloud], tmp_path)) is BadContent


def test_azures_blocks_become_a_blob_only_where_none_is(azure_place: Place, tmp_path: Path) -> None:
    """Also if somebody else was first after we looked, and before our blocks went up."""
    store = azure_place.open()
    assert isinstance(store, AzureStore)
    put(store, KEY, b"theirs", tmp_path)
    (tmp_path / "ours").write_bytes(b"ours")
    full = f"{azure_place.table().azure.prefix}/{KEY}"  # type: ignore[union-attr]
    with (tmp_path / "ours").open("rb") as file:
        assert not store._commit(KEY, full, store._stage(full, file, hashlib.sha256(b"ours").hexdigest()))
    assert b"".join(store.get(KEY)) == b"theirs"


PASSING = {
    "a cloud that asks for patience": (503, "SlowDown"),
    "a cloud with a fault": (500, "InternalError"),
    "a proxy without a way": (502, ""),
}


@pytest.mark.parametrize(("status", "code"), PASSING.values(), ids=PASSING.keys())
@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_may_pass_is_tried_again_and_then_told(cloud: str, status: int, code: str, tmp_path: Path) -> None:
    """After a bounded time it is nobody's fault here."""
    assert type(trouble(cloud, "list", said(cloud, status, code), tmp_path)) is CloudUnavailable


NONSENSE = {
    "a page of a captive portal": Answer(200, b"<html><body>Sign in!", {"Content-Type": "text/html"}),
    "half of an answer": Answer(200, b"<?xml", {"Content-Type": "application/xml"}, length=1000),
    "nothing at all": Answer(200, b"", {"Content-Type": "application/json"}),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("cloud", CLOUDS)
def test_nonsense_is_no_empty_bucket(cloud: str, answer: Answer, tmp_path: Path) -> None:
    """A listing that cannot be read is an error."""
    assert type(trouble(cloud, "list", answer, tmp_path)) is CloudUnavailable


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_object_that_breaks_off_is_an_error(cloud: str, tmp_path: Path) -> None:
    """Half of the bytes are never taken for all of them."""
    headers = {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 00:00:00 GMT", "Content-Range": "bytes 0-4999/5000"}
    half = Answer(200 if cloud == "s3" else 206, b"x" * 1000, headers, length=5000)
    assert type(trouble(cloud, "get", half, tmp_path)) is CloudUnavailable


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_dead_endpoint_is_told_soon(cloud: str) -> None:
    """In seconds, not minutes."""
    with pytest.raises(CloudUnavailable, match="does not answer"):
        PLACES[cloud](f"http://127.0.0.1:{free_port()}").open().head(KEY)


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_that_is_not_there_is_no_empty_one(cloud: Place, call: str, tmp_path: Path) -> None:
    """Every call says that it is missing, and by which name it was looked for."""
    with pytest.raises(BadConfig, match=r"there is no (bucket|container) 'nobody-made-it'"):
        CALLS[call](cloud.open(bucket="nobody-made-it"), tmp_path)


def test_a_put_that_breaks_off_leaves_nothing(cloud: Place, tmp_path: Path) -> None:
    """Not half an object, and the next put is the first."""
    content = bytes(6_000_000)
    with cutting(cloud.url, after=1_500_000) as cut, pytest.raises((CloudUnavailable, BadContent)):
        put(cloud.open(endpoint=cut), KEY, content, tmp_path)
    assert cloud.open().head(KEY) is None
    assert list(cloud.open().list()) == []
    assert put(cloud.open(), KEY, content, tmp_path)


def test_no_secret_is_told(tmp_path: Path) -> None:
    """What a cloud or a proxy writes into its errors stays out of ours."""
    for cloud in CLOUDS:
        for status in (400, 401, 403, 500):
            assert "very-secret" not in str(trouble(cloud, "list", said(cloud, status, "very-secret"), tmp_path))
