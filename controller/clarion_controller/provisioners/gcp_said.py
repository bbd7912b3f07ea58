"""What Google's errors mean when servers are made: whose fault, in one sentence, and the next command.

What is not about making servers means the same as when they are listed: see `discover.gcp_errors`.
"""

from __future__ import annotations

import re
from typing import Any

from clarion_controller.discover.gcp_errors import explain, is_transient
from clarion_controller.discover.said import Said
from clarion_controller.fleet_toml.roles import GcpServer
from clarion_protocol.errors import (
    BadConfig,
    Blocked,
    ClarionError,
    CloudRefused,
    CloudUnavailable,
    ProvisionFailed,
)

LATER = "Try again later; https://status.cloud.google.com says what Google knows."
QUOTED = 300  # characters of what Google wrote
_PERMISSION = re.compile(r"compute\.[A-Za-z]+\.[A-Za-z]+|iam\.serviceAccounts\.actAs")

_CAPACITY = Said(
    CloudUnavailable,
    "Google has no {machine_type} free in {zone} now ({code})",
    "Try again later, or give the role another zone or machine_type.",
)
_QUOTA = Said(
    CloudRefused,
    "a quota of the project {project} is used up: {quoted}",
    "Ask for more: https://console.cloud.google.com/iam-admin/quotas?project={project}, or delete what is idle.",
)
_MISSING = Said(
    BadConfig,
    "Google does not take what the role names: {quoted}",
    "Correct image, network, subnetwork, machine_type or service_account in the gcp table of the role.",
)
_TAKEN = Said(
    Blocked,
    "the project {project} has an instance of that name in {zone} already",
    "Choose another name, or see 'gcloud compute instances list --project {project}'.",
)
_FORBIDDEN = Said(
    CloudRefused,
    "Google does not allow {permission} in the project {project} to these credentials",
    "Give them a role with {permission}; docs/how-to/provision-a-server.md names all that are needed.",
)
_FAILED = Said(
    ProvisionFailed,
    "Google could not make the server: {code} {quoted}",
    "Correct the gcp table of the role in fleet.toml, or try again.",
)

_BY_CODE: dict[str, Said] = {
    **dict.fromkeys(["ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"], _CAPACITY),
    **dict.fromkeys(["STOCKOUT", "RESOURCE_POOL_EXHAUSTED", "IP_SPACE_EXHAUSTED"], _CAPACITY),
    **dict.fromkeys(["QUOTA_EXCEEDED", "quotaExceeded", "limitExceeded", "CPUS_ALL_REGIONS_QUOTA"], _QUOTA),
    **dict.fromkeys(["RESOURCE_NOT_FOUND", "INVALID_FIELD_VALUE", "INVALID_USAGE", "404", "400"], _MISSING),
    **dict.fromkeys(["RESOURCE_ALREADY_EXISTS", "409"], _TAKEN),
    **dict.fromkeys(["PERMISSIONS_ERROR", "forbidden", "IAM_PERMISSION_DENIED"], _FORBIDDEN),
}


def explained_for(error: Exception, server: GcpServer, permission: str) -> ClarionError:
    """Return what to raise instead of an error of Google's SDK."""
    error = getattr(error, "cause", None) or error  # of attempts that were all in vain, the last one's
    message = str(getattr(error, "message", "") or error)
    for code in [*_reasons(error), _status(error)]:
        if code in _BY_CODE:
            return said_of(code, message, server, permission)
    known = explain(error, server.project)
    return CloudUnavailable(known.message, hint=LATER) if isinstance(known, CloudUnavailable) else known


def said_of(code: str, message: str, server: GcpServer, permission: str = "") -> ClarionError:
    """Return the error for what Google says of a request, or of an operation that has failed."""
    named = _PERMISSION.search(message)
    facts: dict[str, Any] = {name: getattr(server, name) for name in ("project", "zone", "machine_type")}
    facts |= {"code": code, "permission": named[0] if named else permission, "quoted": _quoted(message)}
    return _BY_CODE.get(code, _FAILED).of(**facts)


def is_refusal(error: BaseException) -> bool:
    """Return whether an error of ours stands for Google's own word that it has not begun."""
    return 400 <= int(getattr(error.__cause__, "code", 0) or 0) < 500


def may_pass(error: Exception) -> bool:
    """Return whether asking again at once may help; a quota is used up for longer than that."""
    return is_transient(error) and "quotaExceeded" not in _reasons(error)


def _reasons(error: Any) -> list[str]:
    """Return why, in Google's words, of both its ways of saying so."""
    said = [str(detail.get("reason", "")) for detail in getattr(error, "errors", ()) if isinstance(detail, dict)]
    return [*said, str(getattr(error, "reason", ""))]


def _status(error: Any) -> str:
    return str(int(getattr(error, "code", 0) or 0))


def _quoted(message: str) -> str:
    """Return one short line, without the address that was asked."""
    line = re.sub(r"^[A-Z]+ https?://\S+: ", "", " ".join(message.split()))
    return "".join(letter for letter in line if letter.isprintable())[:QUOTED]
