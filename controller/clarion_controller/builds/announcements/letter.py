"""What is sent to announce a push, what is read out of it, and the two ways in which nothing comes of it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from clarion_controller.builds.build import COMMIT
from clarion_protocol.errors import BadSignature

MAX_AGE_S = 300.0
GONE = re.compile(r"0{40}(0{24})?\Z")  # the commit of a branch that is no more

_T = TypeVar("_T", bound=msgspec.Struct)
_COMMIT = re.compile(COMMIT)
# As `git check-ref-format` says, and no name that begins like an option.
_REF = re.compile(r"refs/(?:heads|tags)/(?![-./])[^\s\x00-\x20\x7f~^:?*\[\\]+\Z")
_NOT_IN_A_REF = re.compile(r"\.\.|//|@\{|/\.|\.lock(?:/|\Z)|[./]\Z")
_DELIVERY = re.compile(r"[\x21-\x7e]{1,128}\Z")
_LONGEST_REF = 250
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Letter:
    """An announcement as it arrived: headers by their names in small letters, and the raw body."""

    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header, or nothing."""
        return self.headers.get(name, "")


@dataclass(frozen=True)
class Announced:
    """What a genuine announcement says: `commit` was pushed to `ref`, which was `before`.

    `digest` is of what never comes twice.
    """

    ref: str
    commit: str
    delivery: str
    by: str = ""
    digest: str = ""
    before: str = ""

    def __post_init__(self) -> None:
        if not is_ref(self.ref):
            raise Unreadable(f"{self.ref[:80]!r} is no branch and no tag")
        if not _COMMIT.match(self.commit):
            raise Unreadable(f"{self.commit[:80]!r} is no commit")
        if not _DELIVERY.match(self.delivery):
            raise Unreadable("it has no number by which it could be known again")


class NothingToBuild(Exception):
    """It is genuine, and no push of something that could be built; the sentence goes back."""


class Unreadable(Exception):
    """It is genuine, and makes no sense; the sentence goes back."""


def is_ref(text: str) -> bool:
    """Return whether `text` is a branch or a tag as git names it, such as "refs/heads/main"."""
    is_shaped = _REF.match(text) is not None and _NOT_IN_A_REF.search(text) is None
    return is_shaped and len(text) <= _LONGEST_REF and text.isprintable()


def sealed(key: bytes, *parts: bytes) -> bytes:
    """Return the HMAC-SHA256 of `parts`, one behind the other."""
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        digest.update(part)
    return digest.digest()


def check_age(written: str, now: float) -> None:
    """Let through what was sent within `MAX_AGE_S` of `now`; `written` is UTC seconds.

    Raises:
        BadSignature: it was not.
    """
    if not re.fullmatch(r"[0-9]{1,12}", written) or abs(now - int(written)) > MAX_AGE_S:
        raise BadSignature("sent too long ago, or by a clock that is wrong")


def read_json(body: bytes, kind: type[_T]) -> _T:
    """Return `body` as a `kind`; fields that it does not name are passed over, for forges add some.

    Raises:
        Unreadable: it is no such JSON.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unreadable(f"the body is not what it should be: {str(error)[:200]}") from error


def name_of(*written: str | None) -> str:
    """Return the first name that is there, short and on one line."""
    name = next((each for each in written if each), "")
    return "".join(letter for letter in name if letter.isprintable())[:_LONGEST_NAME]
