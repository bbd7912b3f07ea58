"""What a build prints, made fit to be kept and shown: whole lines, so many bytes, nothing that drives a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

STARTED = b"clarion: inside\n"
COMPLAINT = "error: "
MAX_COMPLAINT = 300
MAX_BYTES = 16 * 2**20
MAX_LINE = 8 * 1024
KEPT = 1600  # bytes; with a sentence before it, what the controller keeps as a reason
CUT = b"[what the build printed after this is not kept]\n"
# Titles, colours and cursors of terminals, in 7 and 8 bits, then every other control but tab and line end.
_CONTROLS = re.compile(
    rb"\x1b\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\xc2[\x80-\x9f]|[\x00-\x08\x0b-\x1f\x7f]"
)


class Output:
    """Takes what is printed, piece by piece; until the first program inside says so, it is bubblewrap that speaks."""

    def __init__(self, log: Callable[[bytes], None]) -> None:
        self._log = log
        self._open = b""
        self._length = 0
        self._tail = b""
        self.has_begun = False

    def take(self, data: bytes) -> None:
        """Pass on the lines that are whole by now, and a line that has become too long as it is."""
        self._open += data
        whole, end, rest = self._open.rpartition(b"\n")
        if len(rest) > MAX_LINE:
            whole, end, rest = self._open, b"\n", b""
        self._open = rest
        if whole or end:
            self._pass(whole + end)

    def end(self) -> None:
        """Pass on the last line, which never ended."""
        if self._open:
            self._pass(self._open + b"\n")
            self._open = b""

    @property
    def tail(self) -> str:
        """The end of what was printed."""
        return self._tail.decode("utf-8", "replace").strip()

    @property
    def complaint(self) -> str:
        """What was last said to be wrong, if anything was; the app may have said it."""
        said = [line for line in self.tail.splitlines() if line.startswith(COMPLAINT)]
        return said[-1].removeprefix(COMPLAINT)[:MAX_COMPLAINT] if said else ""

    def _pass(self, lines: bytes) -> None:
        if not self.has_begun and STARTED in lines:
            self.has_begun = True
            lines = lines.replace(STARTED, b"", 1)
        lines = _CONTROLS.sub(b"", lines)
        self._tail = (self._tail + lines)[-KEPT:]
        left = MAX_BYTES - self._length
        self._length += len(lines)
        if left > 0 and lines:
            self._log(lines if len(lines) <= left else lines[:left] + b"\n" + CUT)
