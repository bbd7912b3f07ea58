"""Who signs what a store asks for, and what is said when nobody can."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hashes import Hash as Digest
from tests.clouds.stores.places import NOWHERE, S3Place
from tests.clouds.stores.surly import Answer, answering

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.azure_signing import Signer
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.gcs_trouble import trouble
from clarion_controller.stores.store import Store
from clarion_protocol.errors import BadConfig, CloudRefused, CloudUnavailable

KEY = "shop/shop-1.0.0+build.7.tar.zst"
EMAIL = "controller@acme.iam.gserviceaccount.com"


def gcs() -> Store:
    """Return a store in Google's own bucket, which no test here asks for anything."""
    pytest.importorskip("google.cloud.storage")
    return store_of(fleet.Store(gcs=fleet.Gcs(bucket="acme-packages", prefix="packages")), NOWHERE)


def logged_in(monkeypatch: pytest.MonkeyPatch, folder: Path, **login: str) -> None:
    """Be who the file of credentials says."""
    file = folder / "credentials.json"
    file.write_text(json.dumps(login))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))


def hashed(text: str) -> str:
    """Return the SHA-256 of `text` in hex."""
    digest = Digest(SHA256())
    digest.update(text.encode())
    return digest.finalize().hex()


def test_a_service_account_signs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's V4 signature, checked by its public description: of this object, for GET, for `ttl` seconds."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    tokens = "https://oauth2.googleapis.com/token"
    logged_in(monkeypatch, tmp_path, type="service_account", client_email=EMAIL, private_key=pem, token_uri=tokens)
    url = gcs().presign(KEY, 600)
    assert url
    parts = urlsplit(url)
    query, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    said = {name: values[0] for name, values in parse_qs(query).items()}
    assert (parts.scheme, parts.netloc) == ("https", "storage.googleapis.com")
    assert parts.path == "/acme-packages/packages/shop/shop-1.0.0%2Bbuild.7.tar.zst"
    assert said["X-Goog-Expires"] == "600"
    assert said["X-Goog-Credential"].startswith(EMAIL)
    asked = f"GET\n{parts.path}\n{query}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
    scope = said["X-Goog-Credential"].partition("/")[2]
    signed = "\n".join(["GOOG4-RSA-SHA256", said["X-Goog-Date"], scope, hashed(asked)])
    key.public_key().verify(bytes.fromhex(signature), signed.encode(), padding.PKCS1v15(), SHA256())


def test_a_person_cannot_sign_for_google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the role, and the way without addresses."""
    logged_in(monkeypatch, tmp_path, type="authorized_user", client_id="x", client_secret="y", refresh_token="z")
    with pytest.raises(CloudRefused, match="cannot sign addresses") as caught:
        gcs().presign(KEY, 60)
    assert caught.value.hint
    assert "roles/iam.serviceAccountTokenCreator" in caught.value.hint
    assert 'deliver = "proxy"' in caught.value.hint


def test_a_machine_that_may_not_sign_for_itself_is_told_the_role() -> None:
    """IAM's refusal reaches us as a transport error of google-auth's; silence stays silence."""
    auth = pytest.importorskip("google.auth.exceptions")
    with pytest.raises(CloudRefused, match="does not let the controller sign") as caught, trouble("acme", "sign"):
        raise auth.TransportError("Error calling the IAM signBlob API: b'{\"code\": 403}'")
    assert "roles/iam.serviceAccountTokenCreator" in (caught.value.hint or "")
    with pytest.raises(CloudUnavailable), trouble("acme", "sign"):
        raise auth.TransportError("connection refused")


def test_without_a_login_google_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint says how to get one."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(CloudRefused, match="does not accept the controller's credentials") as caught:
        gcs().head(KEY)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (caught.value.hint or "")


def test_a_file_of_credentials_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback."""
    logged_in(monkeypatch, tmp_path, type="something else")
    with pytest.raises(CloudRefused):
        gcs().head(KEY)


class Delegating:
    """What Azure's service answers with a key of its own, counted."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime]] = []

    def get_user_delegation_key(self, start: datetime, expiry: datetime) -> object:
        """Return a key."""
        from azure.storage.blob import UserDelegationKey  # noqa: PLC0415

        self.asked.append((start, expiry))
        key = UserDelegationKey()
        key.signed_oid = key.signed_tid = "00000000-0000-0000-0000-000000000001"
        key.signed_start, key.signed_expiry = start.isoformat(), expiry.isoformat()
        key.signed_service, key.signed_version, key.value = "b", "2026-10-06", "a2V5"
        return key


def test_azure_is_asked_once_for_a_key_that_signs_for_a_day() -> None:
    """Each address names who signed it, is for https, for reading, and ends; a longer ttl needs another key."""
    pytest.importorskip("azure.storage.blob")
    service = Delegating()
    signer = Signer(fleet.AzureBlob(account="acme", container="packages"), service)
    for _ in range(3):
        said = {name: values[0] for name, values in parse_qs(signer.sign(KEY, 600)).items()}
    assert len(service.asked) == 1
    assert (said["sp"], said["spr"], said["sr"]) == ("r", "https", "b")
    assert said["skoid"].endswith("1")
    left = datetime.fromisoformat(said["se"].replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert 500 < left.total_seconds() <= 600
    signer.sign(KEY, 5 * 24 * 3600)
    assert len(service.asked) == 2
    start, expiry = service.asked[-1]
    assert (expiry - start).days < 7


def test_a_connection_string_is_for_the_account_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key signs; one of another account is an error that names both."""
    pytest.importorskip("azure.storage.blob")
    store = store_of(fleet.Store(azure=fleet.AzureBlob(account="acme", container="packages")), NOWHERE)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acme;AccountKey=a2V5;EndpointSuffix=x")
    url = store.presign(KEY, 60)
    assert url
    assert url.startswith("https://acme.blob.core.windows.net/packages/shop/shop-1.0.0%2Bbuild.7.tar.zst?")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=other;AccountKey=a2V5")
    with pytest.raises(BadConfig, match="of the account 'other', not of 'acme'"):
        store.presign(KEY, 60)


def test_an_http_endpoint_gets_no_token_of_azures() -> None:
    """Without the account's key nobody signs in there, and there are no addresses."""
    pytest.importorskip("azure.storage.blob")
    with answering(lambda _, __: Answer(404, headers={"x-ms-error-code": "BlobNotFound"})) as url:
        config = fleet.AzureBlob(account="acme", container="packages", endpoint=f"{url}/acme")
        store = store_of(fleet.Store(azure=config), NOWHERE)
        assert store.head(KEY) is None
        assert store.presign(KEY, 60) is None


def test_s3_addresses_say_where_when_and_for_how_long(s3_place: S3Place) -> None:
    """Signature version 4, for the region, at most a week."""
    url = s3_place.open().presign(KEY, 30 * 24 * 3600)
    said = {name: values[0] for name, values in parse_qs(urlsplit(url or "").query).items()}
    assert said["X-Amz-Expires"] == str(7 * 24 * 3600)
    assert "/eu-west-1/s3/aws4_request" in said["X-Amz-Credential"] or "/us-east-1/" in said["X-Amz-Credential"]


def test_a_wrong_region_is_found_before_a_host_is_sent_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address for another region than the bucket's would fail on every host; the error names the right one."""
    pytest.importorskip("boto3")
    with answering(lambda _, __: Answer(200, headers={"x-amz-bucket-region": "eu-central-1"})) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        store = store_of(fleet.Store(s3=fleet.S3(bucket="acme-packages", region="eu-west-1")), NOWHERE)
        with pytest.raises(BadConfig, match="is in eu-central-1, not in eu-west-1"):
            store.presign(KEY, 60)
        right = store_of(fleet.Store(s3=fleet.S3(bucket="acme-packages", region="eu-central-1")), NOWHERE)
        assert right.presign(KEY, 60)


def test_a_bucket_without_a_region_is_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither fleet.toml nor the AWS configuration says it."""
    pytest.importorskip("boto3")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    store = store_of(fleet.Store(s3=fleet.S3(bucket="acme-packages")), NOWHERE)
    with pytest.raises(BadConfig, match="nobody says in which region"):
        store.head(KEY)


def test_an_unknown_profile_is_told(s3_place: S3Place) -> None:
    """By its name."""
    with pytest.raises(BadConfig, match="no AWS profile 'nobody'"):
        s3_place.open(profile="nobody").head(KEY)


def test_without_keys_aws_is_not_asked(s3_place: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint says how to get some."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CloudRefused, match="no AWS credentials"):
        s3_place.open().head(KEY)


def test_a_bucket_name_that_cannot_be_is_told(s3_place: S3Place) -> None:
    """Before anybody is asked."""
    with pytest.raises(BadConfig):
        s3_place.open(bucket="No Bucket!").head(KEY)
