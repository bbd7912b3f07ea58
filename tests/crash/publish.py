"""Packages for hosts that crash; apart from `local_host`, so that a driver started 100 times stays light."""

from __future__ import annotations

from pathlib import Path

from tests.agent.rig import APP, CLARION_TOML, package_of

from clarion_protocol import strict_json


def publish(folder: Path, version: str, release: int) -> None:
    """Put a package into the store below `folder`."""
    files = {f"lib/{number}.py": f"VERSION = {version!r}, {number}\n" * 400 for number in range(3)}
    package = package_of(
        folder, version, release, {"clarion.toml": CLARION_TOML.format(keep=2), "same": "x" * 30_000, **files}
    )
    store = folder / "store"
    (store / APP).mkdir(parents=True, exist_ok=True)
    (store / package.release.path).write_bytes(package.archive)
    (store / package.release.manifest_path).write_bytes(package.manifest)
    (store / f"{version}.json").write_bytes(strict_json.dumps(package.release))
