"""Speaking to the controller: each method is one call of `clarion_controller.api.answers`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from clarion_controller.api.answers import (
    BuilderAnswer,
    BuildLogAnswer,
    BuildRequest,
    DeploymentAnswer,
    ErrorAnswer,
    Finding,
    FleetAnswer,
    HostAnswer,
    InvitationAnswer,
    InviteAnswer,
    InviteRequest,
    LogAnswer,
    OneHostAnswer,
    PlanAnswer,
    PlanRequest,
    SourceAnswer,
    StreamAnswer,
)
from clarion_controller.builds.build import Build
from clarion_controller.client import AS_ITS_USER
from clarion_controller.nightly.report import Report
from clarion_protocol.errors import ClarionError, ControllerUnreachable, UnknownName, all_errors
from clarion_protocol.words import is_name

T = TypeVar("T")
_ID = re.compile(r"[0-9a-f]{1,32}\Z")  # or its beginning
PATIENCE = 30.0  # seconds for an answer, beyond what the call itself asks to wait
LONG = {"/v1/plan": 100.0, "/v1/doctor": 180.0}  # these ask the clouds, each of which may need a minute


class Controller:
    """The controller behind the Unix socket `api`."""

    def __init__(self, api: Path) -> None:
        self._api = api
        # No connection is kept, so none has to be closed; and without TLS there is no need to load certificates.
        transport = httpx.HTTPTransport(uds=str(api), verify=False, limits=httpx.Limits(max_keepalive_connections=0))
        self._http = httpx.Client(transport=transport, base_url="http://clarion", timeout=PATIENCE)

    def fleet(self) -> FleetAnswer:
        """Return who the controller is."""
        return self._call("GET", "/v1/fleet", FleetAnswer)

    def hosts(self, environment: str | None = None, app: str | None = None) -> list[HostAnswer]:
        """Return all hosts, or those of an environment."""
        return self._call("GET", "/v1/hosts", list[HostAnswer], query={"environment": environment, "app": app})

    def one_host(self, name: str, environment: str) -> OneHostAnswer:
        """Return one host, if there is such a one, and its part in what is in force."""
        _check_host(name, environment)
        return self._call("GET", f"/v1/hosts/{name}", OneHostAnswer, query={"environment": environment})

    def sources(self, environment: str | None = None) -> list[SourceAnswer]:
        """Return who lists the hosts, and how lately."""
        return self._call("GET", "/v1/sources", list[SourceAnswer], query={"environment": environment})

    def doctor(self) -> list[Finding]:
        """Return what the controller finds when it looks at itself and at what it depends on."""
        return self._call("GET", "/v1/doctor", list[Finding])

    def revoke(self, name: str, environment: str) -> HostAnswer:
        """Forget a host's keys: it is not served any more."""
        _check_host(name, environment)
        return self._call("DELETE", f"/v1/hosts/{name}", HostAnswer, query={"environment": environment})

    def invite(self, request: InviteRequest) -> InviteAnswer:
        """Return a join token."""
        return self._call("POST", "/v1/invites", InviteAnswer, body=msgspec.json.encode(request))

    def invitations(self, environment: str | None = None) -> list[InvitationAnswer]:
        """Return the join tokens that can still be used."""
        return self._call("GET", "/v1/invites", list[InvitationAnswer], query={"environment": environment})

    def withdraw(self, id_: str, environment: str) -> None:
        """Let nobody join with a token any more."""
        if not _ID.match(id_):
            raise UnknownName(f"{id_!r} is no id of a token", hint="Run 'clarion hosts invitations' to see them.")
        self._call("DELETE", f"/v1/invites/{id_}", type(None), query={"environment": environment})

    def plan(self, request: PlanRequest) -> PlanAnswer:
        """Return the deployment that `request` would be."""
        return self._call("POST", "/v1/plan", PlanAnswer, body=msgspec.json.encode(request))

    def order(self, envelope: bytes) -> DeploymentAnswer:
        """Hand over a signed deployment; its rollout begins."""
        return self._call("POST", "/v1/deployments", DeploymentAnswer, body=envelope)

    def deployments(
        self, environment: str | None = None, app: str | None = None, limit: int = 20
    ) -> list[DeploymentAnswer]:
        """Return deployments, newest first."""
        query = {"environment": environment, "app": app, "limit": limit}
        return self._call("GET", "/v1/deployments", list[DeploymentAnswer], query=query)

    def deployment(self, id_: str, *, revision: int | None = None, wait: float = 0.0) -> DeploymentAnswer:
        """Return one deployment; with `wait` (s) only when it is beyond `revision`, or after that time."""
        query = {"revision": revision, "wait": wait or None}
        return self._call("GET", _path_of(id_), DeploymentAnswer, query=query)

    def steer(self, id_: str, verb: str, actor: str) -> DeploymentAnswer:
        """Abort, pause or resume a deployment."""
        return self._call("POST", f"{_path_of(id_)}/{verb}", DeploymentAnswer, query={"actor": actor})

    def logs(self, id_: str, host: str | None = None) -> list[LogAnswer]:
        """Return what hosts reported in a deployment."""
        return self._call("GET", f"{_path_of(id_)}/logs", list[LogAnswer], query={"host": host})

    def status(self, environment: str | None = None, app: str | None = None) -> list[StreamAnswer]:
        """Return what is wanted and what runs."""
        return self._call("GET", "/v1/status", list[StreamAnswer], query={"environment": environment, "app": app})

    def nightly_finished(self, report: Report) -> None:
        """Tell how a night ended."""
        self._call("POST", "/v1/nightly", type(None), body=msgspec.json.encode(report))

    def builds(self, repository: str | None = None, limit: int = 20) -> list[Build]:
        """Return builds, newest first."""
        return self._call("GET", "/v1/builds", list[Build], query={"repository": repository, "limit": limit})

    def build(self, id_: str) -> Build:
        """Return one build."""
        return self._call("GET", _build_path(id_), Build)

    def builder_seen(self) -> float | None:
        """Return when a builder was last heard from (UTC seconds)."""
        return self._call("GET", "/v1/builder", BuilderAnswer).seen

    def build_log(self, id_: str, offset: int = 0, wait: float = 0.0) -> BuildLogAnswer:
        """Return what a build wrote from `offset` on; with `wait` (s), when there is something."""
        query = {"offset": offset, "wait": wait or None}
        return self._call("GET", f"{_build_path(id_)}/log", BuildLogAnswer, query=query)

    def start_build(self, request: BuildRequest) -> Build:
        """Have a branch or tag built."""
        return self._call("POST", "/v1/builds", Build, body=msgspec.json.encode(request))

    def cancel_build(self, id_: str, actor: str) -> Build:
        """Cancel a build."""
        return self._call("POST", f"{_build_path(id_)}/cancel", Build, query={"actor": actor})

    def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
    ) -> T:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        patience = LONG.get(path, PATIENCE) + given.get("wait", 0.0)
        if not self._api.exists():
            raise self._unreachable("there is no such socket")
        try:
            answer = self._http.request(method, path, params=given, content=body, timeout=patience)
        except httpx.TransportError as error:
            raise self._unreachable(str(error)) from error
        if answer.is_error:
            raise _error_in(answer.content, answer.status_code)
        return _decode(answer.content or b"null", kind)

    def _unreachable(self, why: str) -> ControllerUnreachable:
        if "Permission denied" in why:
            return ControllerUnreachable(f"you may not open {self._api}", hint=AS_ITS_USER)
        return ControllerUnreachable(
            f"no controller answers at {self._api}: {why}",
            hint="Start it with 'clarion serve' or 'systemctl start clarion-controller', or name its --home.",
        )


def _path_of(id_: str) -> str:
    if not _ID.match(id_):
        raise UnknownName(f"{id_!r} is no id of a deployment", hint="Run 'clarion history' to see them.")
    return f"/v1/deployments/{id_}"


def _build_path(id_: str) -> str:
    if not _ID.match(id_):
        raise UnknownName(f"{id_!r} is no id of a build", hint="Run 'clarion builds' to see them.")
    return f"/v1/builds/{id_}"


def _check_host(name: str, environment: str) -> None:
    if not is_name(name):
        raise UnknownName(f"{name!r} is no name of a host", hint=f"Run 'clarion hosts -e {environment}' to see them.")


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise ControllerUnreachable(
            f"the controller's answer makes no sense here: {error}",
            hint="Run 'clarion --version' here and on the controller: they may differ.",
        ) from error


def _error_in(content: bytes, status: int) -> ClarionError:
    try:
        answer = msgspec.json.decode(content, type=ErrorAnswer)
    except msgspec.MsgspecError:
        return ControllerUnreachable(f"the controller answers {status}", hint="Look at its log: 'clarion serve'.")
    kind = all_errors().get(answer.code, ClarionError)
    return kind(answer.message, hint=answer.hint)
