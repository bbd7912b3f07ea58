"""An entry of a table of a cloud's errors: what each is to us, and what to tell of it."""

from __future__ import annotations

from dataclasses import dataclass

from clarion_protocol.errors import ClarionError


@dataclass(frozen=True)
class Said:
    """An error to raise, with a message and a hint in which the names in braces are filled in."""

    kind: type[ClarionError]
    message: str
    hint: str

    def of(self, **facts: object) -> ClarionError:
        """Return the error with the facts in their places."""
        return self.kind(self.message.format(**facts), hint=self.hint.format(**facts))
