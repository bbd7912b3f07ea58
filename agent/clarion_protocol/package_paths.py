"""Which names may stand in a package: rules that hold on every file system and for every reader.

- relative, UTF-8 in Unicode's composed form (NFC), components joined by one "/";
- no component is empty, "." or "..", none longer than 255 bytes, none with control characters;
- at most 1,024 bytes and 64 components;
- a link's target climbs with leading ".." only, so that no other link can bend its way.
"""

from __future__ import annotations

import re
import unicodedata

MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 1024
MAX_DEPTH = 64

# Controls of ASCII and Latin-1, line and paragraph separators, and halves of surrogate pairs.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def path_problem(path: str) -> str | None:
    """Return why `path` may not stand in a package, or None if it may."""
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if _CONTROL.search(path):
        return "holds a control character"
    if not path.isascii() and not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode's composed form (NFC)"
    return _size_problem(path) or _component_problem(path.split("/"))


def link_problem(path: str, target: str) -> str | None:
    """Return why the link at `path` may not point to `target`, or None if the words of it are fine."""
    climbs, below = _climb(target)
    if problem := path_problem("/".join(below)) or _size_problem(target):
        return problem
    return "leaves the package" if climbs > path.count("/") else None


def resolve(path: str, target: str) -> str:
    """Return the path that the link at `path` leads to; `link_problem` must have found none."""
    climbs, below = _climb(target)
    folders = path.split("/")[:-1]
    return "/".join(folders[: len(folders) - climbs] + below)


def _climb(target: str) -> tuple[int, list[str]]:
    """Return how many folders `target` climbs at its start, and the steps that follow."""
    steps = target.split("/")
    climbs = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
    return climbs, steps[climbs:]


def parent_of(path: str) -> str:
    """Return the folder that `path` lies in; "" is the package itself."""
    return path.rpartition("/")[0]


def _size_problem(path: str) -> str | None:
    size = len(path) if path.isascii() else len(path.encode())
    return f"is {size} bytes long, more than {MAX_PATH_BYTES}" if size > MAX_PATH_BYTES else None


def _component_problem(components: list[str]) -> str | None:
    if len(components) > MAX_DEPTH:
        return f"is {len(components)} folders deep, more than {MAX_DEPTH}"
    for component in components:
        if component in {"", ".", ".."}:
            return f'has the component "{component}"'
        if len(component) * 4 > MAX_COMPONENT_BYTES and len(component.encode()) > MAX_COMPONENT_BYTES:
            return f"has a component of more than {MAX_COMPONENT_BYTES} bytes"
    return None
