"""What boto3's errors mean to whoever runs the controller: whose fault, in one sentence, and the next command.

- An error is looked up by the code that AWS answered, then by the names of its classes, so
  that this table needs no SDK.
- What AWS or a proxy wrote is quoted only where it says what to mend in fleet.toml: elsewhere
  it may hold session tokens, keys or passwords.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Any
from urllib.parse import urlsplit

from clarion_controller.discover.said import Said
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

QUOTED = 200  # characters of what AWS wrote
CLOCK_MAY_DIFFER_S = 240  # AWS itself accepts five minutes


@dataclass(frozen=True)
class Asked:
    """What was asked of AWS: the IAM action, where, as which profile; `who` finds out as whom, or returns ""."""

    action: str
    region: str
    profile: str = ""
    endpoint: str = ""
    who: Callable[[], str] = str

    @property
    def place(self) -> str:
        """Where it was asked, without what an address may hold of a password."""
        host = urlsplit(self.endpoint).hostname
        return f"{self.region} at {host}" if host else self.region

    @property
    def as_profile(self) -> str:
        """How the AWS command line is told of the profile."""
        return f" --profile {self.profile}" if self.profile else ""


_FORBIDDEN = Said(
    CloudRefused,
    "AWS forbids {action} to {who} in {place}",
    "Allow {action} in IAM, and see that no policy of the organisation denies it; then run 'clarion hosts'.",
)
_KEY = Said(
    CloudRefused,
    "AWS does not know this access key ({place})",
    "It was deleted, is switched off or belongs elsewhere. Try 'aws sts get-caller-identity{as_profile}'.",
)
_SIGNATURE = Said(
    CloudRefused,
    "AWS does not accept the signature ({place}): the secret key does not fit the access key, or the clock is wrong",
    "Try 'aws sts get-caller-identity{as_profile}', and 'timedatectl' for the clock.",
)
_EXPIRED = Said(
    CloudRefused,
    "the AWS credentials have expired ({place}){clock}",
    "Get new ones: 'aws sso login{as_profile}', or let the controller have an instance role, which renews them.",
)
_CLOCK = Said(
    CloudRefused,
    "AWS says that the request is too old or too new ({place}){clock}",
    "Set the clock ('timedatectl' shows it); temporary credentials that have expired are answered alike.",
)
_FETCHED = Said(
    CloudRefused,
    "the AWS credentials cannot be fetched ({name})",
    "'aws sts get-caller-identity{as_profile}' says why; for single sign-on, run 'aws sso login{as_profile}'.",
)
_NOT_ENABLED = Said(
    CloudRefused,
    "this AWS account has no EC2 in {place}",
    "Enable the region ('aws account enable-region --region-name {region}') or remove it from fleet.toml.",
)
_THROTTLED = Said(
    CloudUnavailable,
    "AWS asks for patience: too many requests in {place}",
    "It is asked again later; raise discover_every in fleet.toml if this stays.",
)
_BROKEN = Said(
    CloudUnavailable,
    "AWS has a fault of its own in {place} ({name})",
    "It is asked again later; https://health.aws.amazon.com says what AWS knows.",
)
_SILENT = Said(
    CloudUnavailable,
    "AWS does not answer in {place} ({name})",
    "Check the controller's way out: DNS, routes, HTTPS_PROXY. It is asked again later.",
)
_NONSENSE = Said(
    CloudUnavailable,
    "what answers for AWS in {place} does not speak EC2's language ({name})",
    "A proxy or the wrong endpoint in fleet.toml? It is asked again later.",
)
_SETTING = Said(
    BadConfig,
    "AWS does not accept what fleet.toml asks for in {place}: {quoted}",
    "Correct the regions, tags, autoscaling_groups or states of this source.",
)
_FILES = Said(
    BadConfig,
    "the AWS configuration cannot be used: {quoted}",
    "Correct ~/.aws/config of the user that runs the controller.",
)

_BY_NAME: dict[str, Said] = {
    **dict.fromkeys(["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"], _FORBIDDEN),
    "AuthFailure": Said(
        CloudRefused,
        "AWS does not accept these credentials in {place}",
        "Is the region enabled ('aws account list-regions{as_profile}')? Else check the keys, and the clock.",
    ),
    **dict.fromkeys(["InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"], _KEY),
    **dict.fromkeys(["SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException"], _SIGNATURE),
    **dict.fromkeys(["ExpiredToken", "ExpiredTokenException"], _EXPIRED),
    **dict.fromkeys(["RequestExpired", "RequestTimeTooSkewed"], _CLOCK),
    **dict.fromkeys(["OptInRequired", "Blocked", "PendingVerification"], _NOT_ENABLED),
    **dict.fromkeys(["Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled"], _THROTTLED),
    **dict.fromkeys(["TooManyRequestsException", "EC2ThrottledException", "SlowDown", "429"], _THROTTLED),
    **dict.fromkeys(["InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable", "5xx"], _BROKEN),
    **dict.fromkeys(["InvalidParameterValue", "InvalidParameterCombination", "FilterLimitExceeded"], _SETTING),
    "NoCredentialsError": Said(
        CloudRefused,
        "there are no AWS credentials here",
        "Give the controller an instance role, a profile in fleet.toml, or AWS_ACCESS_KEY_ID and its secret.",
    ),
    "PartialCredentialsError": Said(
        CloudRefused,
        "the AWS credentials are only half there: {quoted}",
        "Set the missing one; 'aws configure list{as_profile}' shows where each comes from.",
    ),
    **dict.fromkeys(["CredentialRetrievalError", "MetadataRetrievalError", "TokenRetrievalError"], _FETCHED),
    **dict.fromkeys(["SSOError", "LoginError", "NoAuthTokenError", "UnknownCredentialError"], _FETCHED),
    **dict.fromkeys(["ConfigParseError", "InvalidConfigError", "InfiniteLoopConfigError"], _FILES),
    **dict.fromkeys(["ConfigNotFound", "MissingDependencyException"], _FILES),
    **dict.fromkeys(["InvalidRegionError", "EndpointProviderError", "BaseEndpointResolverError"], _SETTING),
    "SSLError": Said(
        CloudUnavailable,
        "the certificate of what answers for AWS in {place} is not trusted",
        "If a proxy opens TLS here, name its CA in AWS_CA_BUNDLE; else somebody is in between.",
    ),
    "ProxyConnectionError": Said(
        CloudUnavailable,
        "the proxy on the way to AWS in {place} does not let us through",
        "Check HTTPS_PROXY and NO_PROXY of the controller.",
    ),
    **dict.fromkeys(["ConnectionError", "HTTPClientError"], _SILENT),
    **dict.fromkeys(["ResponseParserError", "PaginationError", "IncompleteReadError"], _NONSENSE),
}


def explain(error: Exception, asked: Asked) -> ClarionError:
    """Return what to raise instead of an error of boto3."""
    said = next((_BY_NAME[name] for name in _names(error) if name in _BY_NAME), _NONSENSE)
    facts: dict[str, Any] = {"name": next(_names(error)), "quoted": _quoted(error), "clock": _clock(error)}
    facts |= {name: getattr(asked, name) for name in ("region", "place", "as_profile")}
    facts["action"] = _action(error) or asked.action
    if said is _FORBIDDEN:
        facts["who"] = asked.who() or "these credentials"
    return said.of(**facts)


def is_known(error: Exception) -> bool:
    """Return whether there are words for this error here."""
    return any(name in _BY_NAME for name in _names(error))


def _action(error: Exception) -> str:
    """Return the IAM action if it was one on the way to the credentials of a profile's role."""
    operation = str(getattr(error, "operation_name", ""))
    return f"sts:{operation}" if operation.startswith("AssumeRole") else ""


def _names(error: Exception) -> Iterator[str]:
    """Return under which names to look an error up, the most telling first."""
    answer = _answer(error)
    code = str(answer.get("Error", {}).get("Code", ""))
    if re.fullmatch(r"[A-Za-z0-9.]{1,80}", code):
        yield code
    if answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        yield "5xx"
    yield from (kind.__name__ for kind in type(error).__mro__)


def _answer(error: Exception) -> dict[str, Any]:
    """Return what AWS answered, as boto3 has read it; nothing if there was no answer."""
    return getattr(error, "response", None) or {}


def _quoted(error: Exception) -> str:
    """Return the first line of what the error says."""
    lines = str(_answer(error).get("Error", {}).get("Message") or error).splitlines() or [""]
    return "".join(letter for letter in lines[0] if letter.isprintable())[:QUOTED]


def _clock(error: Exception) -> str:
    """Return how far this machine's clock is from the one of who answered, if that is far."""
    try:
        theirs = parsedate_tz(_answer(error)["ResponseMetadata"]["HTTPHeaders"]["date"])
    except KeyError:
        theirs = None
    if theirs is None:
        return ""
    ahead = round(time.time() - mktime_tz(theirs))
    if abs(ahead) < CLOCK_MAY_DIFFER_S:
        return ""
    return f": this machine's clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} theirs"
