"""What never asks a cloud loads no SDK of one, although all are installed here: they cost up to 150 MB and seconds."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

SDKS = {"boto3": "boto3", "botocore": "botocore", "google": "google.cloud.compute_v1", "azure": "azure.identity"}
STARTED = [
    "clarion_agent.cli",
    "clarion_agent.daemon",
    "clarion_agent.tuf_chain",
    "clarion_controller.cli",
    "clarion_controller.discover.child",
    "clarion_controller.key_files",
    "clarion_controller.serve",
]


@pytest.mark.parametrize("module", STARTED)
def test_nothing_that_starts_loads_an_sdk(module: str) -> None:
    """Nor do TUF's own signers, which would load each that they find."""
    assert _loaded_by(f"import {module}") == set()


@pytest.mark.parametrize("verb", ["", "hosts", "deploy", "serve"])
def test_no_command_loads_an_sdk_to_show_its_help(verb: str) -> None:
    """Whoever types a command waits for what it needs, and for nothing else."""
    assert _loaded_by(f"from clarion_controller.cli import run; run({[*verb.split(), '--help']!r})") == set()


@pytest.mark.parametrize("sdk", SDKS)
def test_an_sdk_can_be_loaded_afterwards(sdk: str) -> None:
    """Kept out is not locked out; and the tests above would see it."""
    module = SDKS[sdk]
    pytest.importorskip(module)
    assert sdk in _loaded_by(f"import clarion_controller.key_files, {module}")


def test_signing_does_not_depend_on_it() -> None:
    """Keys in files sign as ever, and the signers show nobody who loaded them."""
    signer = importlib.import_module("securesystemslib.signer")
    key = signer.CryptoSigner.generate_ed25519()
    key.public_key.verify_signature(key.sign(b"text"), b"text")
    assert type(getattr(signer, "__loader__", None)).__name__ == "SourceFileLoader"


def _loaded_by(code: str) -> set[str]:
    """Return which SDKs a Python has loaded that has run `code`."""
    last = f"{code}\nimport sys\nprint('\\n', *(name for name, module in sys.modules.items() if module))"
    said = subprocess.run([sys.executable, "-c", last], capture_output=True, text=True, timeout=50, check=True).stdout
    return {module.split(".")[0] for module in said.splitlines()[-1].split()} & set(SDKS)
