"""Which credentials Google is asked with, and what is said when they do not do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clouds.fake_gce import PROJECT, Answer, FakeGce, error, fake_gce
from tests.clouds.gce_questions import HASTE, ask, names
from tests.clouds.loopback_certificate import write_certificate

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.gcp import GcpDiscoverer
from clarion_controller.fleet_toml.fleet import Gcp
from clarion_protocol.errors import CloudRefused, CloudUnavailable

# Google warns of old Pythons when it is imported, which is when it is first asked.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:google")

BAD_TOKEN = error(401, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token")


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """Run a Compute Engine, and hold both sides to its document."""
    with fake_gce() as cloud:
        yield cloud
    assert cloud.complaints == []


def test_credentials_never_travel_in_plain_text(gce: FakeGce, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An http:// endpoint is asked anonymously, even where there are credentials."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated(tmp_path, gce.address)))
    gce.add("web")
    assert names(ask(gce)) == ["web"]
    assert not any(name.lower() == "authorization" for headers in gce.headers for name in headers)


def federated(folder: Path, address: str) -> Path:
    """Return credentials as workload identity federation has them, whose tokens come from `address`."""
    (folder / "subject").write_text("a token of somebody else")
    path = folder / "credentials.json"
    content = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{address}/token",
        "credential_source": {"file": str(folder / "subject")},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGce]:
    """Run a Compute Engine behind TLS, with credentials for which it gives tokens itself."""
    path = tmp_path / "certificate.pem"
    with fake_gce(write_certificate(path)) as cloud:
        cloud.token = Answer.of({**TOKEN, "access_token": "t0ken"})
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated(tmp_path, cloud.address)))
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
        yield cloud


TOKEN = {
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "token_type": "Bearer",
    "expires_in": 3600,
}


def test_credentials_travel_over_tls(secure: FakeGce) -> None:
    """The token that the credentials bring is what Google is asked with."""
    secure.add("web")
    assert names(ask(secure)) == ["web"]
    assert [headers.get("authorization") for headers in secure.headers] == ["Bearer t0ken"]


def test_a_token_that_google_does_not_take(secure: FakeGce) -> None:
    """A new token is no better: the controller is not let in."""
    secure.trouble = [BAD_TOKEN] * 9
    with pytest.raises(CloudRefused, match="does not accept the credentials") as raised:
        ask(secure)
    assert "gcloud auth application-default login" in str(raised.value.hint)


def test_credentials_that_have_expired(secure: FakeGce) -> None:
    """Whoever gives tokens refuses, says the sentence; Compute Engine is not even asked."""
    secure.token = Answer.of({"error": "invalid_grant", "error_description": "ID Token expired"}, 400)
    with pytest.raises(CloudRefused, match="ID Token expired"):
        ask(secure)
    assert secure.asked == []


def test_a_certificate_that_is_not_trusted_is_not_google(secure: FakeGce, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is given to whoever answers there."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(CloudUnavailable, match=r"(?i)certificate"):
        ask(secure)
    assert secure.headers == []


def ask_google() -> list[Discovered]:
    """Ask an endpoint over TLS where nobody listens: without a token, it is not even called."""
    return GcpDiscoverer(Gcp(project=PROJECT, endpoint="https://127.0.0.1:9"), HASTE).hosts()


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command is to log in."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(CloudRefused, match="no credentials") as raised:
        ask_google()
    assert "gcloud auth application-default login" in str(raised.value.hint)


def test_a_credentials_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the missing file is in the sentence."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(CloudRefused, match=r"/nowhere/key\.json"):
        ask_google()


def test_a_token_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The way is at fault, not the credentials."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated(tmp_path, "http://127.0.0.1:9")))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    with pytest.raises(CloudUnavailable):
        ask_google()
