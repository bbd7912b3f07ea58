"""What a running build says, on its way to the controller: never waited for by the build, and bounded."""

from __future__ import annotations

import threading
from types import TracebackType

import structlog

from clarion_controller.builds.build import Job
from clarion_controller.builds.builder_client import Desk, NotWanted
from clarion_protocol.errors import ClarionError

EVERY = 2.0  # seconds; it is also how soon a build hears that nobody wants it
MAX_HELD = 2 * 2**20  # bytes, while the controller is away
LEFT_OUT = b"[some of the output is missing here: the controller was away]\n"

_log = structlog.get_logger(__name__)


class BuildLog:
    """The log of one job, as a context manager in which a thread sends it; `send` what is left afterwards."""

    def __init__(self, desk: Desk, job: Job) -> None:
        self._desk = desk
        self._job = job
        self._held = bytearray()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name=f"log of {job.id[:8]}", daemon=True)
        self.is_wanted = True

    def __enter__(self) -> BuildLog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def say(self, lines: bytes) -> None:
        """Add whole lines."""
        with self._lock:
            if len(self._held) + len(lines) <= MAX_HELD:
                self._held += lines
            elif not self._held.endswith(LEFT_OUT):
                self._held += LEFT_OUT

    def _send_all(self) -> None:
        while not self._ended.wait(EVERY) and self.is_wanted:
            self._try_to_send()

    def _try_to_send(self) -> None:
        try:
            self.send()
        except NotWanted as error:
            _log.info("build.not_wanted", build=self._job.id[:8], reason=str(error))
            self.is_wanted = False
        except ClarionError as error:
            _log.warning("build.log_waits", build=self._job.id[:8], reason=error.message)

    def send(self) -> None:
        """Send what is held, or only that the build lives.

        Raises:
            ControllerUnreachable: the controller is away; what is held stays so.
            NotWanted: it has no use for the build.
        """
        with self._lock:
            held = bytes(self._held)
        self.is_wanted = self._desk.say(self._job, held) and self.is_wanted
        with self._lock:
            del self._held[: len(held)]
