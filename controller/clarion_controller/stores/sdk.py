"""The clouds' SDKs: extras, hundreds of megabytes, so loaded only by who needs one, when it is needed."""

from __future__ import annotations

import importlib
from typing import Any

from clarion_protocol.errors import BadConfig


def load(module: str, extra: str) -> Any:
    """Return a module of an SDK, untyped as they are; `extra` is the extra of clarion's that it comes with.

    Raises:
        BadConfig: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BadConfig(
            f"{error.name} is not installed",
            hint=f"Install it where the controller runs: pip install 'clarion[{extra}]'",
        ) from error
