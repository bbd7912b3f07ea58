"""What Azure's errors mean when servers are made: whose fault, in one sentence, and the next command.

What is not about making servers means the same as when they are listed: see `discover.azure_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from clarion_controller.discover.azure_errors import explain
from clarion_controller.discover.said import Said
from clarion_controller.fleet_toml.roles import AzureServer
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable, ProvisionFailed

LATER = "Try again later; https://azure.status.microsoft says what Azure knows."
QUOTED = 300  # characters of what Azure wrote
_ACTION = re.compile(r"perform action[s]? '(Microsoft\.[A-Za-z./]+)")

_FORBIDDEN = Said(
    CloudRefused,
    "Azure does not allow {action} in {resource_group} to these credentials",
    "Give them a role with {action}; docs/how-to/provision-a-server.md names all that are needed.",
)
_POLICY = Said(
    CloudRefused,
    "a policy of the Azure subscription forbids it: {code} {quoted}",
    "See 'az policy assignment list --resource-group {resource_group}' and 'az lock list'.",
)
_CAPACITY = Said(
    CloudUnavailable,
    "Azure has no {size} free in {location} now ({code})",
    "Try again later, or give the role another size or location: 'az vm list-skus --location {location}'.",
)
_QUOTA = Said(
    CloudRefused,
    "a quota of the subscription is used up in {location}: {quoted}",
    "See 'az vm list-usage --location {location} --output table', and ask for more there.",
)
_SETTING = Said(
    BadConfig,
    "Azure does not take what the role names: {code} {quoted}",
    "Correct the azure table of the role in fleet.toml.",
)
_THROTTLED = Said(CloudUnavailable, "Azure asks for patience ({code})", LATER)
_FAILED = Said(
    ProvisionFailed, "Azure could not do it: {code} {quoted}", "Correct the role in fleet.toml, or try again."
)

_BY_CODE: dict[str, Said] = {
    **dict.fromkeys(["AuthorizationFailed", "LinkedAuthorizationFailed", "403"], _FORBIDDEN),
    **dict.fromkeys(["RequestDisallowedByPolicy", "ScopeLocked", "ReadOnlyDisabledSubscription"], _POLICY),
    **dict.fromkeys(["AllocationFailed", "ZonalAllocationFailed", "OverconstrainedAllocationRequest"], _CAPACITY),
    **dict.fromkeys(["SkuNotAvailable", "OverconstrainedZonalAllocationRequest", "SubnetIsFull"], _CAPACITY),
    **dict.fromkeys(["QuotaExceeded", "OperationNotAllowed", "PublicIPCountLimitReached"], _QUOTA),
    **dict.fromkeys(["ResourceGroupNotFound", "SubnetNotFound", "InvalidResourceReference"], _SETTING),
    **dict.fromkeys(["ImageNotFound", "PlatformImageNotFound", "GalleryImageNotFound", "NotFound"], _SETTING),
    **dict.fromkeys(["InvalidParameter", "InvalidRequestFormat", "BadRequest", "ResourceNotFound"], _SETTING),
    **dict.fromkeys(["InvalidApiVersionParameter", "LocationNotAvailableForResourceType"], _SETTING),
    **dict.fromkeys(["TooManyRequests", "RateLimiting", "429", "OperationPreempted"], _THROTTLED),
}


def explained_for(error: Exception, server: AzureServer, action: str) -> ClarionError:
    """Return what to raise instead of an error of the Azure SDK, or of an answer that it makes one of."""
    said = getattr(error, "error", None)
    status = getattr(error, "status_code", None) or 0
    codes = [code for code in (*_codes(said), str(status)) if code]
    found = next((code for code in codes if code in _BY_CODE), "")
    if found or (400 <= status < 500 and status != 401):
        return said_of(found or codes[0], str(getattr(said, "message", "") or ""), server, action)
    known = explain(error, (server.subscription,))
    return CloudUnavailable(known.message, hint=LATER) if isinstance(known, CloudUnavailable) else known


def failed(said: Mapping[str, Any], server: AzureServer) -> ClarionError:
    """Return the error for what Azure says of an operation that has failed."""
    code, message = str(said.get("code", "")), str(said.get("message", ""))
    for detail in said.get("details") or ():
        if str(detail.get("code", "")) in _BY_CODE:
            code, message = str(detail["code"]), str(detail.get("message", ""))
    return said_of(code, message, server)


def said_of(code: str, message: str, server: AzureServer, action: str = "") -> ClarionError:
    """Return the error for a code of Azure's, with its message where that says what to mend."""
    named = _ACTION.search(message)
    facts: dict[str, Any] = {name: getattr(server, name) for name in ("resource_group", "location", "size")}
    quoted = "".join(letter for letter in " ".join(message.split()) if letter.isprintable())[:QUOTED]
    return _BY_CODE.get(code, _FAILED).of(code=code, quoted=quoted, action=named[1] if named else action, **facts)


def _codes(said: Any) -> Iterator[str]:
    """Return the codes of Azure's answer, its details first: the outer one is often just "BadRequest"."""
    for part in [*(getattr(said, "details", None) or ()), said]:
        yield str(getattr(part, "code", "") or "")
