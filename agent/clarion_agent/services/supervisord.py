"""supervisord, through the XML-RPC interface on its Unix socket (supervisord.org/api.html).

The standard library speaks it, so supervisor itself is no dependency of the agent. A unit
"shop.service" is the program "shop": one clarion.toml serves both service managers.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

from clarion_agent.printable import printable
from clarion_agent.stages.restart import UnitState
from clarion_protocol.documents import MAX_LOG_TAIL
from clarion_protocol.errors import RestartFailed

TIMEOUT_S = 180.0
_WAIT = True
_NOT_RUNNING = 70  # supervisor.xmlrpc.Faults.NOT_RUNNING


class Supervisord:
    """The service manager of a host without systemd."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def restart(self, unit: str) -> None:
        """Stop and start the program of `unit`; returns once it has run for its `startsecs`.

        Raises:
            RestartFailed: supervisord does not answer, does not know the program, or could not keep it running.
        """
        try:
            self.stop(unit)
            self._ask("startProcess", program_of(unit), _WAIT)
        except (xmlrpc.client.Error, OSError, http.client.HTTPException) as error:
            raise RestartFailed(
                f"{unit} did not start: {_plain(error)}", hint=f"Run: supervisorctl tail {program_of(unit)} stderr"
            ) from error

    def stop(self, unit: str) -> None:
        """Stop the program of `unit`, if it runs."""
        try:
            self._ask("stopProcess", program_of(unit), _WAIT)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _NOT_RUNNING:
                raise

    def state(self, unit: str) -> UnitState:
        """Return whether the program of `unit` runs, and its process."""
        try:
            info = self._ask("getProcessInfo", program_of(unit))
        except (xmlrpc.client.Error, OSError, http.client.HTTPException):
            return UnitState(is_active=False)
        return UnitState(info.get("statename") == "RUNNING", int(info.get("pid", 0)))

    def log_tail(self, unit: str) -> str:
        """Return the end of what the program of `unit` printed."""
        tails = (self._tail(f"tailProcess{stream}Log", unit) for stream in ("Stdout", "Stderr"))
        return printable("".join(tails).encode())

    def _tail(self, method: str, unit: str) -> str:
        try:
            return str(self._ask(method, program_of(unit), 0, MAX_LOG_TAIL // 2)[0])
        except (xmlrpc.client.Error, OSError, http.client.HTTPException):
            return ""  # a log is only a help; that it is not to be had must not hide what went wrong

    def _ask(self, method: str, *arguments: Any) -> Any:
        with xmlrpc.client.ServerProxy("http://supervisord", transport=_UnixTransport(self._path)) as server:
            return getattr(server.supervisor, method)(*arguments)


def program_of(unit: str) -> str:
    """Return supervisord's name for a unit."""
    return unit.removesuffix(".service")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("supervisord", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # where the library looks for what it closes
        return connection


def _plain(error: Exception) -> str:
    return error.faultString if isinstance(error, xmlrpc.client.Fault) else str(error)
