"""Keeps the clouds' SDKs out of processes that ask no cloud.

securesystemslib, which TUF needs, loads those that are installed for keys that lie in a cloud. Clarion's lie in
files, so all that is lost are 18 MiB and 0.25 s of CPU in each process of a controller that can ask clouds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

SIGNERS = "securesystemslib.signer"
SDKS = ("boto3", "azure.core.exceptions", "google.cloud")


def keep_sdks_out() -> None:
    """Have the signers of securesystemslib loaded without SDKs, whoever loads them first."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the signers alone, and leaves everything else to the others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != SIGNERS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            spec.loader = _WithoutSdks(spec.loader)
        return spec


class _WithoutSdks(Loader):
    """Loads a module while the SDKs cannot be found, and leaves no trace."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__  # noqa: S101 (whoever loads it has set it)
        module.__loader__ = module.__spec__.loader = self._real
        hidden = [name for name in SDKS if name not in sys.modules]
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]  # "there is no such module", says the import system
        try:
            self._real.exec_module(module)
        finally:
            for name in hidden:
                del sys.modules[name]
