"""Who may complete a CURVE handshake: a ZAP service (RFC 27) that cannot be talked to death.

- A CURVE socket without a ZAP service admits anybody; `zmq.auth`'s services die at the first
  exception. This one answers every request, whatever it holds.
- Each ZAP domain has its own rule, so that the open join port never opens another.
- The key becomes the connection's User-Id, by which every later message is judged again,
  because ZAP is asked only once for each connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
import zmq

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
OK, TEMPORARY, REFUSED = b"200", b"300", b"400"

Admits = Callable[[str], bool]

_log = structlog.get_logger(__name__)


def everybody(key: str) -> bool:
    """Admit any key: for the join port, where the invitation decides."""
    return bool(key)


class Doorkeeper:
    """Answers for all server sockets of one context, for as long as that context lives.

    `doors` maps a ZAP domain to its rule, which is called with the client's CURVE key in hex
    on this thread: it must be quick and in memory.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], doors: Mapping[bytes, Admits]) -> None:
        self._doors = dict(doors)
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        # Bound here, not in the thread: a handshake that came earlier would be refused.
        self._socket.bind(ENDPOINT)
        self._logged_at, self._unlogged = 0.0, 0
        self._thread = threading.Thread(target=self._serve, name="doorkeeper", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the terminated context has ended this thread."""
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        try:
            while True:
                self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        except zmq.ContextTerminated:
            pass
        finally:
            self._socket.close()

    def _answer(self, request: Sequence[bytes]) -> list[bytes]:
        request_id = request[1] if len(request) > 1 else b""
        try:
            status, user = judge(request, self._doors)
        except Exception:  # noqa: BLE001 (one bad rule must not shut the door for ever)
            _log.exception("door.rule_failed")
            status, user = TEMPORARY, b""
        if status == REFUSED:
            self._note_refusal(request)
        return [VERSION, request_id, status, b"", user, b""]

    def _note_refusal(self, request: Sequence[bytes]) -> None:
        """Log a refusal, at most one a second: knocking must not fill the disk."""
        self._unlogged += 1
        if time.monotonic() - self._logged_at >= 1:
            address, key = (request[position] if len(request) > position else b"" for position in (3, 6))
            _log.info("door.refused", address=_text(address), key=key[:32].hex(), times=self._unlogged)
            self._logged_at, self._unlogged = time.monotonic(), 0


def judge(request: Sequence[bytes], doors: Mapping[bytes, Admits]) -> tuple[bytes, bytes]:
    """Return the status for a ZAP request and, if it is admitted, the User-Id: its CURVE key in hex."""
    if len(request) != 7 or request[0] != VERSION or request[5] != b"CURVE" or len(request[6]) != 32:
        return REFUSED, b""
    rule, key = doors.get(request[2]), request[6].hex()
    if rule is None or not rule(key):
        return REFUSED, b""
    return OK, key.encode()


def _text(raw: bytes) -> str:
    return raw[:64].decode("ascii", "replace")
