"""An app's source without its tests: what cannot pass them can still be packed, and looked into."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import tomli

from clarion_protocol.app_config import FILE_NAME
from clarion_protocol.errors import BadConfig

_TABLE = re.compile(r"^[ \t]*\[\[?[^\[\],=]+\]\]?[ \t]*(#.*)?$", flags=re.MULTILINE)


def copy_without_tests(source: Path, target: Path) -> None:
    """Copy a source to the new folder `target`, as a plain folder whose clarion.toml has no [test].

    Raises:
        BadConfig: its clarion.toml cannot be read, or is not written table by table.
    """
    shutil.copytree(source, target, symlinks=True)
    path = target / FILE_NAME
    try:
        path.write_text(without_tests(path.read_text("utf-8")), "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read: {error}") from error


def without_tests(text: str) -> str:
    """Return the text of a clarion.toml without its table [test].

    Raises:
        BadConfig: it cannot be taken out.
    """
    wanted = _parsed(text)
    wanted.pop("test", None)
    heads = [*_TABLE.finditer(text)]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=True):
        if head.group().strip().startswith("[test]"):
            text = text[: head.start()] + text[end:]
            break
    # What was cut is judged by what is left: a line in a text may look like a table's head.
    if _parsed(text) != wanted:
        raise BadConfig(f"the tests of {FILE_NAME} cannot be left out")
    return text


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise BadConfig(f"{FILE_NAME} cannot be read: {error}") from error
