"""Whether a package store may send this host elsewhere for a package.

- Where agent.toml lists `package_origins`: to these and to no other. Otherwise: to any server over https.
- Over https the server proves its name to the system's authorities, listed or not.
- Never with a name or a password in the address; never to a file or to another protocol.
- What the address asks for is a signed secret: nothing that is told holds it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from clarion_agent.origin import origin_of

FOLLOWED = frozenset({302, 307})

# What a request line can hold, and more than any cloud's signed address needs.
_ADDRESS = re.compile(r"[!-~]{1,8192}")


@dataclass(frozen=True)
class Elsewhere:
    """Where a file lies: the server's origin, and what to ask it for."""

    origin: str
    target: str = field(repr=False)


class NotFollowed(Exception):
    """Why a redirect is not followed, and what would have to be changed where (if anything should)."""

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


def judge(location: str, allowed: Collection[str]) -> Elsewhere:
    """Return where a redirect leads, if this host goes there; `allowed` is agent.toml's `package_origins`.

    Raises:
        NotFollowed: it does not go there.
    """
    if not _ADDRESS.fullmatch(location):
        raise NotFollowed("to something that is no address")
    try:
        origin = origin_of(location)
    except ValueError as error:
        raise NotFollowed(f"to where nobody is sent: {error}") from None
    if not _is_allowed(origin, allowed):
        raise NotFollowed(f"to {origin}, which package_origins in agent.toml does not allow", _hint(origin, allowed))
    parts = urlsplit(location)
    return Elsewhere(origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _is_allowed(origin: str, allowed: Collection[str]) -> bool:
    if allowed:
        return origin in {origin_of(each) for each in allowed}
    return origin.startswith("https:")


def _hint(origin: str, allowed: Collection[str]) -> str:
    listed = ", ".join(f'"{each}"' for each in (*allowed, origin))
    line = f"package_origins = [{listed}]"
    return f"If that is your own store, write {line} in this host's agent.toml and restart the agent."
