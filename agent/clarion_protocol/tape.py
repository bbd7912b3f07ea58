"""A stream of bytes that is read in exact lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clarion_protocol.errors import BadContent


class Tape:
    """Bytes that come in pieces of any size and are taken in pieces of known size; `position` counts what was taken."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = memoryview(b"")
        self.position = 0

    def take(self, count: int) -> Iterator[memoryview]:
        """Yield exactly `count` bytes, in pieces.

        Raises:
            BadContent: the stream ends before.
        """
        while count:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    raise BadContent("the archive ends early")
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            self.position += len(piece)
            yield piece

    def skip_to(self, position: int) -> None:
        """Go forward to `position`.

        Raises:
            BadContent: the stream ends before, or is already further.
        """
        if position < self.position:
            raise BadContent("the archive's files overlap")
        for _ in self.take(position - self.position):
            pass

    def expect(self, wanted: bytes, what: str) -> None:
        """Check that `wanted` comes next; `what` names it in the error.

        Raises:
            BadContent: something else comes next.
        """
        if b"".join(self.take(len(wanted))) != wanted:
            raise BadContent(f"{what} differs from the manifest")

    def expect_end(self) -> None:
        """Read to the end and check that nothing was left.

        Raises:
            BadContent: something was left.
        """
        if self._rest or any(self._pieces):
            raise BadContent("the archive goes on after its end")
