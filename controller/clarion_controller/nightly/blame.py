"""Which dependency broke a build that could be made before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clarion_controller.nightly.dependencies import moved
from clarion_protocol.errors import BuildFailed, ClarionError

NAMED = 3


@dataclass(frozen=True)
class Baseline:
    """What an app was made of, and when that was: "the night of 2026-11-21"."""

    when: str
    dependencies: Mapping[str, str]


@dataclass(frozen=True)
class Blame:
    """Why a build is broken, in one phrase and in lines for people."""

    reason: str
    findings: tuple[str, ...]


def blamed(error: BuildFailed, before: Baseline, made_of: Callable[[], Mapping[str, str]]) -> Blame:
    """Return why a build failed; `made_of` builds it without its tests, to see what it is made of now."""
    failure = _failure(error.message)
    try:
        moves = moved(before.dependencies, made_of())
    except ClarionError:
        return Blame(failure, tuple(_spoken_of(error.message, before)))
    if not moves:
        return Blame(failure, (f"no dependency has moved since {before.when}",))
    named = ", ".join(moves[:NAMED]) + (f" and {len(moves) - NAMED} more" if len(moves) > NAMED else "")
    return Blame(f"{named}: {failure}", tuple(f"moved since {before.when}: {move}" for move in moves))


def _failure(message: str) -> str:
    """Return the sentence before the output."""
    return message.partition("\n")[0].rstrip(":")


def _spoken_of(log: str, before: Baseline) -> list[str]:
    """Return the dependencies that the log names: where not even the build's commands work, it is often one of them."""
    names = [name for name in before.dependencies if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", log)]
    return [f"the log speaks of {name}; {before.when} had {before.dependencies[name]}" for name in names[:10]]
