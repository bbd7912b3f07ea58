"""What the Azure SDK's errors mean to whoever runs the controller: whose fault, in one sentence, and the next command.

- An error is looked up by the code that Azure answered, then by its status, then by the names
  of its classes, so that this table needs no SDK.
- What Azure or a proxy wrote is not quoted: it may hold tokens, addresses or passwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from clarion_controller.discover.said import Said
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

ACTION = "Microsoft.ResourceGraph/resources/read"

# The SDK's chain of credentials tells of a network that does not work in words only.
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ProxyError|SSLError|RemoteDisconnected|[Tt]imed? ?out"
)


_FORBIDDEN = Said(
    CloudRefused,
    "Azure does not let these credentials list servers in {subscriptions} ({name})",
    f"Give them the role Reader, which allows {ACTION}: "
    "'az role assignment create --role Reader --assignee <id> --scope /subscriptions/{subscription}'.",
)
_SUBSCRIPTION = Said(
    BadConfig,
    "Azure has no such subscription: {subscriptions} ({name})",
    "Correct subscriptions of this source in fleet.toml; 'az account list --output table' shows them.",
)
_TOKEN = Said(
    CloudRefused,
    "Azure does not accept the credentials ({name})",
    "They may have expired, be of another tenant or cloud, or the clock is wrong: 'az account show', 'timedatectl'.",
)
_SIGN_IN = Said(
    CloudRefused,
    "nothing here signs in to Azure; tried {tried}",
    "Give the controller a managed identity with the role Reader, set AZURE_TENANT_ID, AZURE_CLIENT_ID and "
    "AZURE_CLIENT_SECRET, or run 'az login' as its user.",
)
_SIGN_IN_SILENT = Said(
    CloudUnavailable,
    "the address where Azure signs in does not answer; tried {tried}",
    "Check the controller's way out: DNS, routes, HTTPS_PROXY. It is asked again later.",
)
_UNTRUSTED = Said(
    CloudUnavailable,
    "the certificate of what answers for Azure is not trusted",
    "If a proxy opens TLS here, name its CA in REQUESTS_CA_BUNDLE; else somebody is in between.",
)
_PROXY = Said(
    CloudUnavailable,
    "the proxy on the way to Azure does not let us through",
    "Check HTTPS_PROXY and NO_PROXY of the controller.",
)
_THROTTLED = Said(
    CloudUnavailable,
    "Azure asks for patience: too many questions to Resource Graph ({name})",
    "It is asked again later; raise discover_every in fleet.toml if this stays.",
)
_BROKEN = Said(
    CloudUnavailable,
    "Azure has a fault of its own ({name})",
    "It is asked again later; https://azure.status.microsoft says what Azure knows.",
)
_SILENT = Said(
    CloudUnavailable,
    "Azure does not answer ({name})",
    "Check the controller's way out: DNS, routes, HTTPS_PROXY. It is asked again later.",
)
_NONSENSE = Said(
    CloudUnavailable,
    "what answers for Azure does not speak Resource Graph's language ({name})",
    "A proxy or the wrong endpoint in fleet.toml? It is asked again later.",
)

_BY_NAME: dict[str, Said] = {
    **dict.fromkeys(["AuthorizationFailed", "NoValidSubscriptionsInQueryRequest", "AccessDenied", "403"], _FORBIDDEN),
    **dict.fromkeys(["SubscriptionNotFound", "InvalidSubscriptionId"], _SUBSCRIPTION),
    "SubscriptionsContainInvalidGuids": _SUBSCRIPTION,
    **dict.fromkeys(["InvalidAuthenticationToken", "ExpiredAuthenticationToken", "401"], _TOKEN),
    **dict.fromkeys(["RateLimiting", "429"], _THROTTLED),
    "5xx": _BROKEN,
    "SignInUnreachable": _SIGN_IN_SILENT,
    **dict.fromkeys(["CredentialUnavailableError", "ClientAuthenticationError"], _SIGN_IN),
    "SSLError": _UNTRUSTED,
    "ProxyError": _PROXY,
    **dict.fromkeys(["ServiceRequestError", "ServiceResponseError"], _SILENT),
}


def explain(error: Exception, subscriptions: tuple[str, ...]) -> ClarionError:
    """Return what to raise instead of an error of the Azure SDK."""
    names = list(_names(error))
    said = _said_of(names)
    facts = {
        "name": names[0],
        "subscriptions": ", ".join(subscriptions),
        "subscription": subscriptions[0],
        "tried": _tried(error),
    }
    return said.of(**facts)


def is_passing(error: Exception) -> bool:
    """Return whether asking again may help."""
    return _said_of(_names(error)) in (_THROTTLED, _BROKEN, _SILENT)


def _said_of(names: Iterable[str]) -> Said:
    return next((_BY_NAME[name] for name in names if name in _BY_NAME), _NONSENSE)


def _names(error: Exception) -> Iterator[str]:
    """Return under which names to look an error up, the most telling first."""
    yield from _codes(getattr(error, "error", None))
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 400:
        yield str(status)
        if status >= 500:
            yield "5xx"
    if _UNREACHABLE.search(str(error)) and "Credential" in str(error):
        yield "SignInUnreachable"
    for part in filter(None, (getattr(error, "inner_exception", None), error)):
        yield from (kind.__name__ for kind in type(part).__mro__)


def _codes(said: Any) -> Iterator[str]:
    """Return the codes of Azure's answer, its details first: the outer one is often just "BadRequest"."""
    for part in [*(getattr(said, "details", None) or ()), said]:
        code = str(getattr(part, "code", "") or "")
        if code.isascii() and code.isalnum():
            yield code


def _tried(error: Exception) -> str:
    """Return which credentials were tried, as the SDK lists them, with the codes of Microsoft Entra."""
    lines = re.findall(r"^\t(\w+)Credential:(.*)", str(error), re.MULTILINE)
    codes = [(name, re.search(r"AADSTS\d+", said)) for name, said in lines]
    return ", ".join(f"{name} ({code.group()})" if code else name for name, code in codes) or "the SDK's own chain"
