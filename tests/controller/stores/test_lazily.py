"""The clouds' SDKs cost hundreds of megabytes and seconds: nobody pays for what is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clarion_controller.stores.sdk import load
from clarion_protocol.errors import BadConfig

MODULES = [
    "azure", "azure_signing", "azure_trouble", "choose", "folder", "gcs", "gcs_signing", "gcs_trouble", "keys",
    "s3", "s3_client", "s3_trouble", "sdk", "sending", "store",
]  # fmt: skip
CHOOSE = """
from pathlib import Path
from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.choose import store_of
for table in (fleet.Store(), fleet.Store(s3=fleet.S3(bucket="b")), fleet.Store(gcs=fleet.Gcs(bucket="b")),
              fleet.Store(azure=fleet.AzureBlob(account="a", container="c"))):
    store_of(table, Path("."))
"""
LOADED = """
import sys
print([name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore", "azure", "requests", "google")])
"""


@pytest.mark.parametrize("code", [*(f"import clarion_controller.stores.{name}" for name in MODULES), CHOOSE])
def test_no_sdk_is_loaded_before_it_is_needed(code: str) -> None:
    """Neither by a module, nor by choosing a store."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "[]"


def test_an_sdk_that_is_missing_is_named_with_the_command() -> None:
    """Not a traceback."""
    with pytest.raises(BadConfig, match="no_such_sdk is not installed") as caught:
        load("no_such_sdk.part", "aws")
    assert caught.value.hint == "Install it where the controller runs: pip install 'clarion[aws]'"
