"""Speaking to the controller as a builder: each method is one route of `clarion_controller.builds.desk`."""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec

from clarion_controller.api.answers import ErrorAnswer
from clarion_controller.builds.build import Finished, Job, read_job
from clarion_protocol.errors import Blocked, ClarionError, ControllerUnreachable, UnknownName, all_errors
from clarion_protocol.os_words import os_words

PATIENCE = 30.0  # seconds for an answer
PIECE = 512 * 1024  # bytes of a log at once
AS_ITS_USER = "Run it as its unit does: 'systemctl start clarion-builder'."


class NotWanted(Exception):
    """The controller does not want this build any more, or gave it to somebody else."""


class _GoOn(msgspec.Struct):
    go_on: bool


class Desk:
    """The controller's desk for builders, behind the Unix socket `socket`; any thread may use it.

    Every method raises ControllerUnreachable when no controller answers, and NotWanted when it has no use for the
    build; other errors are those that the controller sends.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        transport = httpx.HTTPTransport(uds=str(socket), verify=False, limits=httpx.Limits(max_keepalive_connections=0))
        self._http = httpx.Client(transport=transport, base_url="http://clarion", timeout=PATIENCE)

    def take(self, wait: float) -> Job | None:
        """Return the next job; None if there is none within `wait` seconds."""
        answer = self._call("POST", "take", params={"wait": wait}, timeout=PATIENCE + wait)
        if answer.status_code == httpx.codes.NO_CONTENT:
            return None
        try:
            return read_job(answer.content)
        except msgspec.MsgspecError as error:
            raise self._unreachable(f"its job makes no sense here ({error}); is it of another version?") from error

    def say(self, job: Job, said: bytes) -> bool:
        """Add to a build's log; return whether it shall go on."""
        go_on = True
        for start in range(0, max(len(said), 1), PIECE):
            answer = self._call("POST", f"builds/{job.id}/log", content=said[start : start + PIECE])
            go_on = msgspec.json.decode(answer.content, type=_GoOn).go_on
        return go_on

    def hand_over(self, job: Job, what: str, path: Path) -> None:
        """Send the file that is the build's `what`: its "package" or its "manifest"."""
        with path.open("rb") as file:
            self._call("PUT", f"builds/{job.id}/{what}", content=iter(lambda: file.read(2**20), b""))

    def finish(self, job: Job, finished: Finished) -> None:
        """Say how the build ended."""
        headers = {"content-type": "application/json"}
        self._call("POST", f"builds/{job.id}/finished", content=msgspec.json.encode(finished), headers=headers)

    def give_back(self, job: Job) -> None:
        """Let the next builder have a build that this one cannot end."""
        self._call("POST", f"builds/{job.id}/given_back")

    def _call(self, method: str, path: str, **given: object) -> httpx.Response:
        self._demand_socket()
        try:
            answer = self._http.request(method, f"/v1/builder/{path}", **given)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            raise self._unreachable(str(error)) from error
        if answer.is_error:
            refusal = _error_in(answer)
            raise NotWanted(refusal.message) if isinstance(refusal, UnknownName | Blocked) else refusal
        return answer

    def _demand_socket(self) -> None:
        # Not left to httpcore, which forgets to close a socket that does not connect.
        try:
            self._socket.stat()
        except OSError as error:
            raise self._unreachable(os_words(error)) from error

    def _unreachable(self, why: str) -> ControllerUnreachable:
        if "Permission denied" in why:
            return ControllerUnreachable(f"you may not open {self._socket}", hint=AS_ITS_USER)
        why = "there is no such socket" if "No such file" in why else why
        hint = "Start it with 'clarion serve' or 'systemctl start clarion-controller', or name its --home."
        return ControllerUnreachable(f"no controller answers at {self._socket}: {why}", hint=hint)


def _error_in(answer: httpx.Response) -> ClarionError:
    try:
        said = msgspec.json.decode(answer.content, type=ErrorAnswer)
    except msgspec.MsgspecError:
        return ControllerUnreachable(f"the controller answers {answer.status_code}", hint="Look at its log.")
    return all_errors().get(said.code, ClarionError)(said.message, hint=said.hint)
