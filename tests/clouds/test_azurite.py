"""What azurite is installed from."""

from __future__ import annotations

import json

from tests.clouds.azurite import HERE


def test_the_lock_names_hashes_and_no_registry() -> None:
    """Every package has its hash, and comes from whichever registry this machine uses."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    own = packages.pop("")
    assert own["dependencies"] == json.loads((HERE / "package.json").read_text())["dependencies"]
    assert len(packages) > 300
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def test_nothing_is_run_while_it_is_installed() -> None:
    """No package brings a script of its own to run at its installation."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert not [name for name, package in packages.items() if package.get("hasInstallScript")]
