"""What of others is in a package, and in which version: as their installers leave it behind.

===========  =============================================================  ==================
of           told by                                                        read from
===========  =============================================================  ==================
Python       ``NAME-VERSION.dist-info/``, ``NAME-VERSION-py3.11.egg-info``  the path
Node.js      ``node_modules/NAME/package.json``                             the file
Ruby         ``specifications/NAME-VERSION.gemspec``                        the path
Java         ``NAME-VERSION.jar``                                           the path
Go           ``vendor/modules.txt``                                         the file
PHP          ``vendor/composer/installed.json``                             the file
===========  =============================================================  ==================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

Read = Callable[[str], "bytes | None"]

MAX_DEPENDENCIES = 5000
MAX_LENGTH = 100
_PATHS = [
    re.compile(r"(?:.*/)?(?P<name>[^/]+)-(?P<version>[0-9][^/-]*)\.dist-info/METADATA\Z"),
    re.compile(r"(?:.*/)?(?P<name>[^/]+?)-(?P<version>[0-9][^/-]*)(?:-py[0-9.]+)?\.egg-info(?:/PKG-INFO)?\Z"),
    re.compile(r"(?:.*/)?specifications/(?P<name>[^/]+)-(?P<version>[0-9][^/-]*)\.gemspec\Z"),
    re.compile(r"(?:.*/)?(?P<name>[^/]+?)-(?P<version>[0-9][^/]*)\.jar\Z"),
]
_NODE = re.compile(r"(?:.*/)?node_modules/(?P<name>(?:@[^/@]+/)?[^/@.][^/]*)/package\.json\Z")
_GO = re.compile(r"(?:.*/)?vendor/modules\.txt\Z")
_GO_LINE = re.compile(r"^# (\S+) (v\S+)", flags=re.MULTILINE)
_PHP = re.compile(r"(?:.*/)?vendor/composer/installed\.json\Z")


def dependencies_of(paths: Iterable[str], read: Read) -> dict[str, str]:
    """Return each dependency's version by its name, several versions of one with commas between; `read` reads a file.

    What cannot be read as it should be is left out: it is a clue, not a proof.
    """
    found: dict[str, set[str]] = {}
    for path in paths:
        for name, version in _told_by(path, read):
            if len(found) < MAX_DEPENDENCIES or name in found:
                found.setdefault(name[:MAX_LENGTH], set()).add(version[:MAX_LENGTH])
    return {name: ", ".join(sorted(versions)[:5]) for name, versions in sorted(found.items())}


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return a phrase for each dependency that came, went or has another version: "requests 2.31.0 -> 2.32.0"."""
    phrases = []
    for name in sorted({*before, *after}):
        if name not in before:
            phrases.append(f"{name} {after[name]} is new")
        elif name not in after:
            phrases.append(f"{name} {before[name]} is gone")
        elif before[name] != after[name]:
            phrases.append(f"{name} {before[name]} -> {after[name]}")
    return phrases


def _told_by(path: str, read: Read) -> Iterator[tuple[str, str]]:
    for pattern in _PATHS:
        if match := pattern.match(path):
            yield match["name"], match["version"]
    if match := _NODE.match(path):
        yield from _node(match["name"], _json(read(path)))
    elif _GO.match(path):
        yield from _GO_LINE.findall((read(path) or b"").decode("utf-8", "replace"))
    elif _PHP.match(path):
        yield from _php(_json(read(path)))


def _node(name: str, content: object) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict) and isinstance(content.get("version"), str):
        yield name, content["version"]


def _php(content: object) -> Iterator[tuple[str, str]]:
    packages = content.get("packages") if isinstance(content, dict) else content
    for each in packages if isinstance(packages, list) else []:
        if isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("version"), str):
            yield each["name"], each["version"]


def _json(content: bytes | None) -> object:
    try:
        return json.loads(content or b"null")
    except (ValueError, RecursionError):
        return None
