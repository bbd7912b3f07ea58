"""The four places where packages can lie, three of them behind the double of a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.clouds.azurite import ACCOUNT, KEY, azurite
from tests.clouds.fake_gcs import fake_gcs
from tests.clouds.stores.places import BUCKET, AzurePlace, FolderPlace, GcsPlace, Place, S3Place

CLOUDS = ["s3", "gcs", "azure"]


@pytest.fixture(scope="session")
def azurite_url() -> Iterator[str]:
    """Run azurite; its container is there."""
    with azurite() as url:
        storage = pytest.importorskip("azure.storage.blob", reason="needs the SDK: pip install 'clarion[azure]'")
        with storage.BlobServiceClient(url, {"account_name": ACCOUNT, "account_key": KEY}) as service:
            service.create_container(BUCKET)
        yield url


@pytest.fixture(scope="session")
def fake_gcs_url() -> Iterator[str]:
    """Run fake-gcs-server; its bucket is there."""
    pytest.importorskip("google.cloud.storage", reason="needs the SDK: pip install 'clarion[gcp]'")
    with fake_gcs() as url:
        GcsPlace(url).make_bucket()
        yield url


@pytest.fixture
def s3_place(moto: str) -> Place:
    """Return an empty bucket of moto's."""
    pytest.importorskip("boto3", reason="needs the SDK: pip install 'clarion[aws]'")
    place = S3Place(moto)
    place.make_bucket()
    return place


@pytest.fixture
def gcs_place(fake_gcs_url: str) -> Place:
    """Return a part of fake-gcs-server's bucket that nobody has used yet."""
    return GcsPlace(fake_gcs_url, uuid4().hex)


@pytest.fixture
def azure_place(azurite_url: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a part of azurite's container that nobody has used yet."""
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    return AzurePlace(azurite_url, uuid4().hex)


@pytest.fixture
def folder_place(tmp_path: Path) -> Place:
    """Return a home with an empty store."""
    (tmp_path / "store").mkdir()
    return FolderPlace(tmp_path)


@pytest.fixture(params=["folder", *CLOUDS])
def place(request: pytest.FixtureRequest) -> Place:
    """Return each place in turn."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> Place:
    """Return each place that is a cloud's."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found
