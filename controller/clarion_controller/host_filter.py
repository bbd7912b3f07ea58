"""Which of an environment's servers are meant, by what they have in common; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from clarion_controller.fleet_toml.fleet import unknown
from clarion_protocol.amounts import Share
from clarion_protocol.errors import BadConfig, NothingMatches


class HostFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all wanted servers have: one of `zones`, one of `groups`, every one of `tags`; then `limit` of them.

    `limit` is a count ("3") or a share ("10%") of those that match otherwise. Which, is drawn from `seed`: the same
    seed picks the same servers for as long as they exist, however many others come and go.
    """

    tags: Mapping[str, str] = {}
    zones: Sequence[str] = ()
    groups: Sequence[str] = ()
    limit: str = ""
    seed: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether everybody is meant."""
        return not (self.tags or self.zones or self.groups or self.limit)


class Filterable(Protocol):
    """What a filter looks at."""

    @property
    def name(self) -> str:
        """What it is called; unique."""

    @property
    def zone(self) -> str:
        """Where it stands."""

    @property
    def groups(self) -> Sequence[str]:
        """What it belongs to."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What it was given."""


T = TypeVar("T", bound=Filterable)


def narrow(members: Iterable[T], wanted: HostFilter) -> list[T]:
    """Return those that `wanted` means, in their order.

    Raises:
        NothingMatches: nobody; the hint says what there is.
        BadConfig: `limit` is no share.
    """
    left = list(members)
    if wanted.zones:
        left = _having(left, "zone", wanted.zones, lambda each: [each.zone])
    if wanted.groups:
        left = _having(left, "group", wanted.groups, lambda each: each.groups)
    for key, value in wanted.tags.items():
        left = _having(left, f"tag {key}", [value], partial(_tag, key))
    return _drawn(left, wanted) if wanted.limit else left


def _having(members: list[T], what: str, wanted: Sequence[str], values: Callable[[T], Iterable[str]]) -> list[T]:
    left = [each for each in members if set(wanted) & set(values(each))]
    if not left:
        known = sorted({value for each in members for value in values(each)} - {""})
        error = unknown(what, " or ".join(wanted), known, hint="Run 'clarion hosts --json' to see what they have.")
        raise NothingMatches(f"no host has {what} {' or '.join(wanted)}", hint=error.hint)
    return left


def _tag(key: str, member: Filterable) -> list[str]:
    return [member.tags[key]] if key in member.tags else []


def _drawn(members: list[T], wanted: HostFilter) -> list[T]:
    try:
        count = Share.parse(wanted.limit).of(len(members))
    except ValueError as error:
        raise BadConfig(f"--limit: {error}") from error
    if not count:
        raise NothingMatches(f"{wanted.limit} of {len(members)} hosts is none", hint="Write a larger --limit.")
    drawn = set(sorted((each.name for each in members), key=lambda name: _lot(wanted.seed, name))[:count])
    return [each for each in members if each.name in drawn]


def _lot(seed: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
