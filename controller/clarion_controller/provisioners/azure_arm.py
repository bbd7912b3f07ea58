"""Azure Resource Manager as it is spoken to when servers are made: each question has an end, each error is ours.

- Puts and deletes may be sent again without harm: they say what shall be, not what to do.
- What takes longer is an operation: it is looked at as often as Azure asks for, until it is over or the time is.
- The token goes to the address that fleet.toml names and to no other, whatever an answer says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from clarion_controller.discover.azure_client import address_of, signed_in
from clarion_controller.discover.azure_graph import Limits
from clarion_controller.fleet_toml.roles import AzureServer
from clarion_controller.provisioners.azure_said import LATER, explained_for, failed
from clarion_protocol.errors import BadConfig, ClarionError, CloudUnavailable

MAX_PAGES = 200
MAX_PAUSE_S = 30.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long Azure is waited for, in seconds: operations, all attempts at one answer, one answer; between looks."""

    run: float = 600
    end: float = 600
    again: float = 60
    answer: float = 30
    pause: float = 3


@dataclass(frozen=True)
class Arm:
    """Resource Manager at `url`, in the resource group of `server`."""

    server: AzureServer
    url: str
    client: Any
    patience: Patience

    def get(self, path: str, version: str) -> Json | None:
        """Return a resource; None if there is none."""
        answer = self._ask("GET", self._address(path, version))
        return None if answer.status_code == 404 else _body(answer)

    def put(self, path: str, version: str, body: Json, **headers: str) -> Json:
        """Make a resource, and return it once it is made.

        Raises:
            ClarionError: as Azure says why it has failed; CloudUnavailable if it takes longer.
        """
        address = self._address(path, version)
        answer = self._ask("PUT", address, body, headers)
        self._finish(answer, self.patience.run)
        return self.get(path, version) or {}

    def delete(self, path: str, version: str) -> None:
        """Delete a resource and return when it is gone; nothing happens if it is gone already."""
        answer = self._ask("DELETE", self._address(path, version))
        if answer.status_code != 404:
            self._finish(answer, self.patience.end)

    def post(self, path: str, version: str) -> Json:
        """Ask a resource to do something, and return what it says."""
        return _body(self._ask("POST", self._address(path, version)))

    def listed(self, path: str, version: str) -> Iterator[Json]:
        """Return the resources of a collection, page after page."""
        address = self._address(path, version)
        for _ in range(MAX_PAGES):
            answer = self._ask("GET", address)
            page = _body(answer)
            if answer.status_code == 404:
                raise failed(page.get("error") or {}, self.server)
            yield from page.get("value", ())
            if not page.get("nextLink"):
                return
            address = self._own(page["nextLink"])
        raise CloudUnavailable(f"Azure lists more than {MAX_PAGES} pages", hint="Use a resource group of their own.")

    def _finish(self, answer: Any, seconds: float) -> None:
        """Wait until what was begun is over."""
        followed = answer.headers.get("Azure-AsyncOperation")
        until = time.monotonic() + seconds
        while followed:
            if time.monotonic() > until:
                raise CloudUnavailable(f"Azure has not finished after {seconds:.0f} s", hint=LATER)
            time.sleep(_pause(answer, self.patience.pause))
            answer = self._ask("GET", self._own(followed))
            said = _body(answer)
            if said.get("status") in ("Failed", "Canceled"):
                raise failed(said.get("error") or {"code": said["status"]}, self.server)
            if said.get("status") == "Succeeded":
                return

    def _ask(self, verb: str, address: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """Return an answer that is no error, or that there is nothing; asked again while that may help."""
        until = time.monotonic() + self.patience.again
        while True:
            try:
                with self._explained(verb, address):
                    return self._answer(verb, address, body, headers)
            except CloudUnavailable as error:
                pause = _pause(getattr(error.__cause__, "response", None), self.patience.pause)
                if not _may_pass(error) or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)

    def _answer(self, verb: str, address: str, body: Json | None, headers: Mapping[str, str] | None) -> Any:
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415
        from azure.core.rest import HttpRequest  # noqa: PLC0415

        request = HttpRequest(verb, address, json=body, headers=headers)
        seconds = self.patience.answer
        answer = self.client.send_request(request, connection_timeout=seconds, read_timeout=seconds)
        if answer.status_code >= 400 and not _is_gone(verb, answer):
            raise HttpResponseError(response=answer)
        return answer

    @contextmanager
    def _explained(self, verb: str, address: str) -> Iterator[None]:
        from azure.core.exceptions import AzureError  # noqa: PLC0415

        try:
            yield
        except (AzureError, ValueError) as error:
            raise explained_for(error, self.server, _action(verb, address)) from error

    def _address(self, path: str, version: str) -> str:
        return f"{self.url}{path}?api-version={version}"

    def _own(self, address: str) -> str:
        if urlsplit(address)[:2] != urlsplit(self.url)[:2]:
            raise CloudUnavailable("Azure's answer leads to another address", hint="A proxy in between? " + LATER)
        return address


@contextmanager
def open_arm(server: AzureServer, patience: Patience) -> Iterator[Arm]:
    """Return Resource Manager as the role's endpoint, or the SDK's own credentials, reach it.

    Raises:
        BadConfig: the SDK is not installed, or the endpoint is no address.
    """
    url = address_of(server.endpoint)
    with ExitStack() as opened:
        try:
            yield Arm(server, url, opened.enter_context(_client(opened, url)), patience)
        except ImportError as error:
            hint = "Install it where the controller runs: pip install 'clarion[azure]'"
            raise BadConfig("the SDK for Azure is not installed", hint=hint) from error


def _client(opened: ExitStack, url: str) -> Any:
    from azure.core import PipelineClient  # noqa: PLC0415
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, UserAgentPolicy  # noqa: PLC0415

    policies: list[Any] = [UserAgentPolicy("clarion")]
    if url.startswith("https:"):  # over plain http, anybody could read them
        found = signed_in(opened, url, Limits())
        policies.append(BearerTokenCredentialPolicy(found["credential"], *found["credential_scopes"]))
    return PipelineClient(base_url=url, policies=policies)


def _body(answer: Any) -> Json:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CloudUnavailable("what answers for Azure does not speak its language", hint="A proxy? " + LATER)
    return found


def _is_gone(verb: str, answer: Any) -> bool:
    """Return whether the answer is that there is no such resource; to a PUT it means something that it needs."""
    return verb in ("GET", "DELETE") and answer.status_code == 404


def _pause(answer: Any, otherwise: float) -> float:
    """Return for how many seconds Azure asks to wait."""
    asked = (getattr(answer, "headers", None) or {}).get("Retry-After", "")
    return min(float(asked), MAX_PAUSE_S) if asked.isdecimal() else otherwise


def _action(verb: str, address: str) -> str:
    """Return the permission that a request needs: "Microsoft.Compute/virtualMachines/write"."""
    kinds = urlsplit(address).path.rpartition("/providers/")[2].split("/")
    named = {"GET": "read", "PUT": "write", "DELETE": "delete"}.get(verb)
    return "/".join([*kinds[:2], named or f"{kinds[-1]}/action"])


def _may_pass(error: ClarionError) -> bool:
    status = getattr(error.__cause__, "status_code", None)
    return status is None or status == 429 or status >= 500


def is_refusal(error: BaseException) -> bool:
    """Return whether an error of ours stands for Azure's own word that it has not begun."""
    return 400 <= (getattr(error.__cause__, "status_code", None) or 0) < 500


def is_error(error: ClarionError, code: str) -> bool:
    """Return whether an error of ours stands for this code of Azure's."""
    said = getattr(error.__cause__, "error", None)
    return getattr(said, "code", "") == code
