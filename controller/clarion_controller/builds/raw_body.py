"""The raw body of a request from anybody: never more of it than may be kept, never waited for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from clarion_controller.package_store.answer import Refusal
from clarion_controller.package_store.app import Receive

CLOSE = (b"connection", b"close")  # what was not read of a request is not worth reading
_TOO_MUCH = "too much at once; come again"
_AGAIN = (b"retry-after", b"5")

Take = Callable[[int], None]


class HungUp(Exception):
    """Whoever asked has gone, in the middle of it."""


@dataclass
class Room:
    """What all requests together may take: so many at once, and so much for bodies that are not small."""

    most_at_once: int = 2048
    largest: int = 25 * 2**20  # GitHub sends no more
    small: int = 64 * 2**10  # such a body takes nothing of the room for large ones
    for_large: int = 100 * 2**20
    longest: float = 20.0  # seconds for one body to come
    at_once: int = 0
    large: int = 0

    @contextmanager
    def place(self) -> Iterator[Take]:
        """Hand out what makes room for a body of so many bytes, each time that it has grown.

        Raises:
            Refusal: too many requests are in progress.
        """
        if self.at_once >= self.most_at_once:
            raise Refusal(503, _TOO_MUCH, _AGAIN, CLOSE)
        self.at_once += 1
        held = 0

        def take(length: int) -> None:
            nonlocal held
            more = max(length - self.small, 0) - held
            self._check(length, more)
            held += more
            self.large += more

        try:
            yield take
        finally:
            self.at_once -= 1
            self.large -= held

    async def body(self, headers: Mapping[str, str], receive: Receive, take: Take) -> bytes:
        """Return the whole body, if it comes in time and there is room for it.

        Raises:
            Refusal: it is too large, too slow, or there is no room.
            HungUp: it did not come whole.
        """
        said = headers.get("content-length", "")
        # What is only said takes no room yet: else nothing but headers would fill it.
        if said.isdecimal() and int(said[:20]) > self.largest:
            raise self._too_large()
        try:
            return await asyncio.wait_for(_gather(receive, take), self.longest)
        except asyncio.TimeoutError:
            raise Refusal(408, f"the body did not come within {self.longest:g} s", CLOSE) from None

    def _check(self, length: int, more: int) -> None:
        if length > self.largest:
            raise self._too_large()
        if self.large + more > self.for_large:
            raise Refusal(503, _TOO_MUCH, _AGAIN, CLOSE)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"at most {self.largest} bytes", CLOSE)


async def _gather(receive: Receive, take: Take) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        body += message.get("body", b"")
        take(len(body))
        if not message.get("more_body"):
            return bytes(body)
