"""An attacker's two tools: record every signal on the wire, and play it again as if one were the controller.

Both get more than an outsider has. The recorder owns an enrolled host's transport key; the
impostor owns the controller's. What neither has is a deployer's key, and it must not matter.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import zmq

from clarion_agent.identity import Identity
from clarion_controller.key_files import KeyFolder

STATE = 16  # envelopes that fit into one answer


class Recorder:
    """Used with `with`: keeps each different signed message that the controller sends to `environment`."""

    def __init__(self, host: Identity, port: int, environment: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.curve_serverkey = bytes.fromhex(host.record.server_key)
        self._socket.curve_secretkey = bytes.fromhex(host.transport_secret)
        self._socket.curve_publickey = bytes.fromhex(host.record.transport_public)
        self._socket.subscribe(environment.encode())
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.envelopes: dict[bytes, None] = {}  # in the order of their arrival, each once

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _run(self) -> None:
        while not self._is_over.is_set():
            if self._socket.poll(100):
                self.envelopes[self._socket.recv_multipart()[-1]] = None


class Impostor:
    """Used with `with`: answers in the controller's place, with its transport key and nothing but recorded messages."""

    def __init__(self, home: Path, ports: tuple[int, int], environment: str, envelopes: list[bytes]) -> None:
        self._secret = bytes.fromhex(KeyFolder(home / "keys").read_transport().secret)
        self._environment, self._envelopes = environment.encode(), envelopes
        self._context = zmq.Context()
        self._signals, self._reports = self._bind(zmq.XPUB, ports[0]), self._bind(zmq.ROUTER, ports[1])
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.asked = 0
        self.played = 0

    def __enter__(self) -> Impostor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _bind(self, kind: int, port: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.curve_server = True
        socket.curve_secretkey = self._secret
        socket.bind(f"tcp://127.0.0.1:{port}")
        return socket

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._broadcast()
            while self._reports.poll(200):
                self._answer(*self._reports.recv_multipart())

    def _broadcast(self) -> None:
        """Play everything, to whoever listens."""
        for envelope in self._envelopes:
            self._signals.send_multipart([self._environment, envelope])
        self.played += 1
        time.sleep(0.1)

    def _answer(self, agent: bytes, kind: bytes, *_: bytes) -> None:
        """Answer each question for what is wanted with what was wanted once."""
        if kind == b"ask":
            self.asked += 1
            for start in range(0, len(self._envelopes), STATE):
                self._reports.send_multipart([agent, b"state", *self._envelopes[start : start + STATE]])
