"""What becomes of something in a cloud that carries a night's mark. Pure.

Tags prove nothing: whoever may write them can give a night's to a database. So of what carries a mark, only that is
ended

- which is no host of production,
- which was also made with the mark that its tag has: no right to write tags changes that,
- whose night this home has begun and not yet swept,
- and whose night surely does not live elsewhere.

Everything else is left alone and named.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.marks import was_made_for
from clarion_controller.provisioners.provisioner import Found

GRACE_S = 3600.0  # after its deadline, a night takes away what it made


class Begun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of a night that began to make servers in clouds, as `roles` say; times are UTC seconds."""

    run: str
    place: str
    began: float
    until: float
    roles: tuple[Role, ...]

    def may_live(self, here: str, now: float) -> bool:
        """Return whether it may go on elsewhere; only who holds the lock of nights `here` may ask."""
        return self.place != here and self.began - GRACE_S < now < self.until


class Verdict(Enum):
    """What something that carries a night's mark is; only what is `LEFT` is ended."""

    LEFT = "left by a night that is over"
    ALIVE = "of a night that may go on elsewhere"
    PRODUCTION = "a host of production"
    FEIGNED = "not made with the mark that its tag has"
    UNKNOWN = "of a night that this home does not know"

    @property
    def is_odd(self) -> bool:
        """Whether somebody should look at it."""
        return self not in (Verdict.LEFT, Verdict.ALIVE)


@dataclass(frozen=True)
class Known:
    """What is known when it is decided: the nights by run, production's instances, where this is, and UTC seconds."""

    begun: Mapping[str, Begun]
    production: Collection[str]
    here: str
    now: float


def verdict(found: Found, known: Known) -> Verdict:
    """Return what something that carries a night's mark is."""
    night = known.begun.get(found.run)
    if found.instance.lower() in known.production:
        return Verdict.PRODUCTION
    if not was_made_for(found.made_as, found.run):
        return Verdict.FEIGNED
    if night is None:
        return Verdict.UNKNOWN
    return Verdict.ALIVE if night.may_live(known.here, known.now) else Verdict.LEFT


def sentence(found: Found, what: Verdict, known: Known) -> str:
    """Return what people are told of something that was not ended, with what they can do."""
    kept = f"not touched: {found}"
    if what is Verdict.PRODUCTION:
        return f"{kept}, is a host of production. Take its tag clarion-run away, and find out who wrote it"
    if what is Verdict.FEIGNED:
        return f"{kept}, was not made for it: that is only written on it. Take the tag away, and find out who wrote it"
    if what is Verdict.UNKNOWN:
        return f"{kept}, which this home has not begun. A copy of it did? Look what it is; to end it: '{found.removal}'"
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(known.begun[found.run].until))
    return f"left alone: {found}, which another machine or home has begun, and which may last until {until}"
