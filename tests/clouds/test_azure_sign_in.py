"""How AzureDiscoverer signs in: the SDK's own chain, over TLS, with the token that the endpoint's cloud wants."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.clouds.fake_arm import SUBSCRIPTION, FakeArm, Machine

from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.discover.azure_client import open_client
from clarion_controller.discover.azure_errors import explain
from clarion_controller.discover.azure_graph import Limits
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Azure
from clarion_protocol.errors import BadConfig, CloudRefused, CloudUnavailable

SOON = Limits(connect=2, read=5, total=10, pause=0.05)
NOBODY = "http://127.0.0.1:1"
AZ = """#!/bin/sh
echo "$@" >> {log}
echo '{{"accessToken": "a-token", "expires_on": 4070908800, "expiresOn": "2099-01-01 00:00:00.000000"}}'
"""


@pytest.fixture(autouse=True)
def no_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing of the SDK's chain leave this machine."""
    for name, value in {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": NOBODY,
        "HTTPS_PROXY": NOBODY,
        "NO_PROXY": "127.0.0.1",
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake ARM")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "arm.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def arm(certificate: Path) -> Iterator[FakeArm]:
    """Return an Azure with one machine, behind TLS."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with FakeArm(tls=tls) as arm:
        arm.add(*Machine(name="web").resources())
        yield arm


@pytest.fixture
def az_log(tmp_path: Path) -> Path:
    """Put an Azure CLI on the PATH that is signed in; return where it notes how it was called."""
    log, az = tmp_path / "az.log", tmp_path / "bin" / "az"
    az.parent.mkdir()
    az.write_text(AZ.format(log=log))
    az.chmod(az.stat().st_mode | stat.S_IXUSR)
    return log


def hosts(endpoint: str) -> list[Discovered]:
    """Return what is discovered at the endpoint."""
    return AzureDiscoverer(Azure(subscriptions=(SUBSCRIPTION,), endpoint=endpoint), SOON).hosts()


def test_the_azure_cli_signs_in(arm: FakeArm, az_log: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody has run 'az login', its token goes with each question, and it is for this endpoint."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert [host.name for host in hosts(arm.url)] == ["web"]
    assert {asked.headers["Authorization"] for asked in arm.asked} == {"Bearer a-token"}
    (called,) = az_log.read_text().splitlines()
    assert f"--scope {arm.url}/.default" in called or f"--resource {arm.url}" in called


def test_a_certificate_that_is_not_trusted_is_no_azure(arm: FakeArm, az_log: Path) -> None:
    """A stranger's TLS gets no token, and the hint says where to name a proxy's CA."""
    with pytest.raises(CloudUnavailable, match="not trusted") as caught:
        hosts(arm.url)
    assert "REQUESTS_CA_BUNDLE" in str(caught.value)
    assert (az_log.exists(), arm.asked) == (True, [])


def test_nothing_that_signs_in_is_an_error_with_what_was_tried(arm: FakeArm, caplog: pytest.LogCaptureFixture) -> None:
    """Without any credentials the message names each kind that was tried, and the hint how to get one; once."""
    with pytest.raises(CloudRefused, match=r"Environment, WorkloadIdentity, ManagedIdentity, AzureCli\n") as caught:
        hosts(arm.url)
    assert "az login" in str(caught.value.hint)
    assert (arm.asked, caplog.records) == ([], [])


def test_a_sign_in_that_cannot_be_reached_is_no_refusal(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that nobody could look at are not called wrong."""
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID"):
        monkeypatch.setenv(name, SUBSCRIPTION)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "s3cret")
    with pytest.raises(CloudUnavailable, match="signs in does not answer; tried Environment") as caught:
        hosts(arm.url)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_secret_is_told_by_its_code() -> None:
    """Of what Microsoft Entra says, its code is passed on; the rest may be private."""
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415

    said = "\n\tEnvironmentCredential: Authentication failed: AADSTS7000215: Invalid client secret for app 's3cret'"
    told = explain(ClientAuthenticationError(message=f"Attempted credentials:{said}"), (SUBSCRIPTION,))
    assert isinstance(told, CloudRefused)
    assert "tried Environment (AADSTS7000215)" in str(told)
    assert "s3cret" not in str(told)


def test_an_environment_that_does_not_fit_is_said(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled variable of the SDK is the operator's to mend."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "nonsense")
    with pytest.raises(BadConfig, match="AZURE_TOKEN_CREDENTIALS"):
        hosts(arm.url)


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        ("", "https://management.azure.com/.default"),
        ("https://management.azure.com/", "https://management.azure.com/.default"),
        ("https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
        ("https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/.default"),
        ("https://management.local.azurestack.external", "https://management.local.azurestack.external/.default"),
    ],
)
def test_each_cloud_wants_its_own_token(endpoint: str, scope: str) -> None:
    """Tokens are asked for with the scope that the SDK gives for the endpoint's cloud."""
    with open_client(endpoint, SOON) as client:
        assert client._config.credential_scopes == [scope]


@pytest.mark.parametrize(
    ("endpoint", "authority"),
    [
        ("", "https://login.microsoftonline.com"),
        ("https://management.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
        ("https://management.usgovcloudapi.net", "https://login.microsoftonline.us"),
    ],
)
def test_each_cloud_signs_in_at_its_own_address(endpoint: str, authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret for one cloud is never shown to another."""
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, SUBSCRIPTION)
    with open_client(endpoint, SOON) as client:
        environment = client._config.credential.credentials[0]
        assert environment._credential._authority == authority


def test_no_sdk_is_loaded_before_hosts_are_asked_for() -> None:
    """Importing the module loads nothing of Azure's, which is large."""
    code = (
        "import sys, clarion_controller.discover.azure; print([n for n in sys.modules if n.split('.')[0] == 'azure'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["azure.mgmt.resourcegraph", "azure.identity"])
def test_without_the_sdk_the_hint_says_what_to_install(missing: str) -> None:
    """A controller without the extra says how to get it."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.fleet_toml.fleet import Azure
AzureDiscoverer(Azure(subscriptions=({SUBSCRIPTION!r},), endpoint="https://127.0.0.1:1")).hosts()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "BadConfig: the SDK for Azure is not installed" in done.stderr
    assert "pip install 'clarion[azure]'" in done.stderr
