"""One request to a forge's API: JSON both ways, the token in the Authorization header and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from clarion_controller.notice import Undelivered
from clarion_controller.notifiers.post import Answer, Call, ask

PATIENCE = 15.0  # seconds for one request; telling one thing may take three
T = TypeVar("T")


class Numbered(msgspec.Struct, frozen=True):
    """What a forge made; of all that it says of it, its number."""

    id: int


@dataclass(frozen=True)
class Api:
    """Where a forge's API is, and what opens it."""

    url: str
    token: str = field(repr=False)
    accept: str = "application/json"

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Return what the forge answers.

        Raises:
            Undelivered: it does not.
        """
        headers = {"Authorization": f"Bearer {self.token}", "Accept": self.accept, "Content-Type": "application/json"}
        content = b"" if body is None else msgspec.json.encode(body)
        return ask(Call(self.url + path, content, headers, method, secrets=(self.token,)), PATIENCE)


def read(answer: Answer, kind: type[T]) -> T:
    """Return what an answer holds.

    Raises:
        Undelivered: it is no success, or something else.
    """
    if not answer.is_success:
        raise answer.refusal()
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Undelivered(f"{answer.host} answers with something else than was asked for: {answer.said}") from None
