"""TUF's signers load no SDK of a cloud, and nobody else is kept from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_an_sdk_in_reach_is_not_loaded_by_the_signers_but_can_be_afterwards(tmp_path: Path) -> None:
    """A stand-in says when it is loaded."""
    (tmp_path / "boto3.py").write_text("print('loaded')\n")
    run = "import clarion_protocol, securesystemslib.signer; print('signers'); import boto3"
    assert _said_by(run, tmp_path) == ["signers", "loaded"]


def test_an_sdk_that_was_loaded_before_stays(tmp_path: Path) -> None:
    """It is not loaded a second time."""
    (tmp_path / "boto3.py").write_text("print('loaded')\n")
    run = "import boto3, clarion_protocol, securesystemslib.signer, sys; print(sys.modules['boto3'] is boto3)"
    assert _said_by(run, tmp_path) == ["loaded", "True"]


def _said_by(code: str, folder: Path) -> list[str]:
    """Return what a Python prints that finds the modules of `folder` first."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=True
    ).stdout.splitlines()
