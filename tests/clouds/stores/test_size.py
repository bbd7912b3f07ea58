"""Many objects, and big ones: pages are read to the end, and no object is ever in memory whole."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import urllib3
from tests.clouds.stores.places import BUCKET, AzurePlace, FolderPlace, GcsPlace, Place, S3Place
from tests.clouds.stores.surly import Answer, answering

from clarion_controller.stores.store import Stored

pytestmark = pytest.mark.timeout(120, func_only=True)

COUNT = 1_050  # Google lists a thousand to a page


def names() -> list[str]:
    """Return the keys, in order."""
    return [f"shop/shop-{number:04}.tar.zst" for number in range(COUNT)]


def test_all_pages_of_googles_bucket_are_listed(gcs_place: GcsPlace) -> None:
    """The double's own pages."""
    where = f"{gcs_place.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={gcs_place.prefix}"
    with urllib3.PoolManager(maxsize=4) as http, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: http.request("POST", f"{where}/{key}", body=b"").status, names()))
    assert [stored.key for stored in gcs_place.open().list("shop/")] == names()


# moto is too slow to hold a thousand objects, and azurite's page would be five thousand.
S3_PAGE = """<ListBucketResult><Name>b</Name><IsTruncated>{more}</IsTruncated>
<Contents><Key>{key}</Key><Size>7</Size></Contents><NextContinuationToken>{token}</NextContinuationToken>
</ListBucketResult>"""
AZURE_PAGE = """<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="b"><Blobs>
<Blob><Name>{key}</Name><Properties><Content-Length>7</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>
</Blobs><NextMarker>{token}</NextMarker></EnumerationResults>"""


@pytest.mark.parametrize(("kind", "page"), [(S3Place, S3_PAGE), (AzurePlace, AZURE_PAGE)])
def test_all_pages_of_other_buckets_are_listed(
    kind: type[S3Place | AzurePlace], page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page names the next, until one does not."""
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")

    def answer(verb: str, path: str) -> Answer:
        if verb == "HEAD":
            return Answer(200)
        asked = parse_qs(urlsplit(path).query)
        place = int((asked.get("continuation-token") or asked.get("marker") or ["0"])[0])
        token = str(place + 1) if place < 4 else ""
        body = page.format(key=f"shop/{place}", token=token, more=str(bool(token)).lower())
        return Answer(200, body.encode(), {"Content-Type": "application/xml"})

    with answering(answer) as url:
        found = list(kind(f"{url}/devstoreaccount1" if kind is AzurePlace else url, "").open().list())
    assert found == [Stored(f"shop/{place}", 7) for place in range(5)]


def test_a_folder_of_many_is_listed(folder_place: FolderPlace) -> None:
    """A folder has no pages."""
    folder = folder_place.home / "store/packages/shop"
    folder.mkdir(parents=True)
    for key in names():
        (folder / Path(key).name).touch()
    assert [stored.key for stored in folder_place.open().list("shop/")] == names()


# Runs in a process of its own, whose memory is nobody else's: a small object first, so that the SDK is loaded.
CHILD = """
import hashlib, resource, sys
from pathlib import Path
import msgspec
from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.store import Span

store = store_of(msgspec.json.decode(sys.argv[1], type=fleet.Store), Path(sys.argv[2]))

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def there_and_back(size):
    file = Path(sys.argv[2]) / "upload"
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for number in range(size >> 20):
            piece = bytes([number % 251]) * (1 << 20)
            out.write(piece)
            digest.update(piece)
    assert store.put_if_absent(f"shop/{size}", file, digest.hexdigest())
    got = hashlib.sha256()
    for chunk in store.get(f"shop/{size}"):
        got.update(chunk)
    assert got.digest() == digest.digest()
    assert sum(len(chunk) for chunk in store.get(f"shop/{size}", Span(1, size))) == size - 1

there_and_back(9 << 20)
before = used()
there_and_back(48 << 20)
print(used() - before)
"""


def test_a_big_object_costs_little_memory(place: Place, tmp_path: Path) -> None:
    """Five times the bytes on the way, and the process is hardly larger (KiB)."""
    (tmp_path / "store").mkdir(exist_ok=True)
    table = msgspec.json.encode({kind: getattr(place.table(), kind) for kind in ("s3", "gcs", "azure")}).decode()
    run = subprocess.run(
        [sys.executable, "-c", CHILD, table, str(tmp_path)], capture_output=True, text=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) < 16 * 1024
