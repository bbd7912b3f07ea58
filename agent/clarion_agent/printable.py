"""What programs print, made fit for a report: bounded, and nothing that a terminal would obey."""

from __future__ import annotations

import re
from pathlib import Path

from clarion_protocol.documents import MAX_LOG_TAIL

# Escape sequences first (colours, titles), then whatever control character is left but tab and newline.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(raw: bytes, limit: int = MAX_LOG_TAIL) -> str:
    """Return the last `limit` characters of `raw` as harmless text."""
    text = raw[-4 * limit :].decode("utf-8", "replace").replace("\r\n", "\n")
    return _CONTROL.sub("", _ESCAPE.sub("", text))[-limit:]


def printable_tail(path: Path, limit: int = MAX_LOG_TAIL) -> str:
    """Return the end of the file `path` as harmless text; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - 4 * limit, 0))
            return printable(file.read(4 * limit), limit)
    except OSError:
        return ""
