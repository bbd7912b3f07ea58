"""What the gateway and the join port share: bound sockets, their doorkeeper, the thread that serves them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog
import zmq

from clarion_controller.gateway.mailbox import Mailbox
from clarion_controller.gateway.sockets import Listening, listen
from clarion_controller.gateway.zap import Admits, Doorkeeper

Turn = Callable[[], object]

_log = structlog.get_logger(__name__)


class Front:
    """Serves sockets on one thread. Nothing that a turn raises ends it; `faults` counts what did."""

    def __init__(self, name: str, doors: Mapping[bytes, Admits]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._doorkeeper = Doorkeeper(self._context, doors)
        self._doorkeeper.start()
        self._turns: dict[zmq.Socket[bytes], Turn] = {}
        self._mailbox = Mailbox()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.faults = 0

    def listen(self, kind: int, at: Listening, turn: Callable[[zmq.Socket[bytes]], object]) -> zmq.Socket[bytes]:
        """Bind a socket; `turn` is called with it whenever it can be read.

        Raises:
            BadConfig: the address cannot be bound.
        """
        socket = listen(self._context, kind, at)
        self._turns[socket] = lambda: turn(socket)
        return socket

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def post(self, letter: Turn) -> None:
        """Have `letter` called on the thread that serves. Any thread."""
        self._mailbox.post(letter)

    def stop(self) -> None:
        """End the thread, if it ever began, and close everything; harmless when repeated."""
        self._mailbox.post(self._end)
        if self._thread.is_alive():
            self._thread.join()
        for socket in self._turns:
            socket.close()
        self._context.term()
        self._doorkeeper.join()
        self._mailbox.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._mailbox.fileno(), zmq.POLLIN)
        for socket in self._turns:
            poller.register(socket, zmq.POLLIN)
        while not self._is_stopping:
            for source, _ in poller.poll():
                self._take(self._turns.get(source, self._read_mail))

    def _read_mail(self) -> None:
        for letter in self._mailbox.letters():
            self._take(letter)

    def _take(self, turn: Turn) -> None:
        try:
            turn()
        except Exception:  # noqa: BLE001 (outermost loop: one bad message must not deafen the fleet)
            self.faults += 1
            _log.exception("front.fault")

    def _end(self) -> None:
        self._is_stopping = True
