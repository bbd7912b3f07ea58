"""Which push to a branch is the newest, when announcements overtake each other; pure.

- What is announced comes after what is known, as long as nothing speaks against it.
- Where it says what the branch was before, that counts for more than the order in which announcements arrive: from
  what is announced, it is gone on to what was pushed on top of that, and so on.
- A branch that went back to a commit goes round in a circle, of which `before` does not say where it ends: there, the
  order of arrival counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clarion_controller.builds.build import COMMIT

_NOTHING = re.compile(r"(0{40}(0{24})?)?\Z")  # what a branch was before it was made, or before nobody knows what


@dataclass(frozen=True)
class Pushed:
    """A branch became `commit`; `before` is what it was, zeros if it was not there, "" if nobody said so."""

    commit: str
    before: str = ""

    @classmethod
    def said(cls, commit: str, before: str) -> Pushed:
        """Return what a forge says, which may be anything."""
        return cls(commit, before if re.match(COMMIT, before) else "")


def newest(pushes: Sequence[Pushed]) -> str:
    """Return the newest commit of pushes, which are in the order in which they were announced."""
    known = ""
    for heard in range(1, len(pushes) + 1):
        known = _then(pushes[:heard], known)
    return known


def _then(pushes: Sequence[Pushed], known: str) -> str:
    """Return the newest commit; the last of `pushes` is announced only now, until then it was `known`."""
    *earlier, last = pushes
    is_next = last.before == known or _NOTHING.match(last.before) is not None
    if last in earlier and not is_next:
        return known  # told again
    arrivals = [each for each in earlier if each.commit == last.commit]
    # Of a commit without `before` this may be the same push, told by somebody who knows more of it.
    if any(each.before or is_next for each in arrivals):
        return last.commit  # the branch went back
    ahead = _ahead_of(last.commit, {each.before: each.commit for each in pushes if each.before})
    return last.commit if last.before in ahead else ahead[-1]


def _ahead_of(commit: str, next_of: Mapping[str, str]) -> list[str]:
    """Return `commit`, and what was pushed on top of it, one after the other."""
    ahead = [commit]
    while (following := next_of.get(ahead[-1], ahead[-1])) not in ahead:
        ahead.append(following)
    return ahead
