"""What errors of Google's SDK mean to whoever runs the controller: whose fault, in one sentence, and the next command.

What Google wrote is quoted in one short line, for it names the account, project or permission.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

QUOTED = 200  # characters of what Google wrote
PERMISSION = "compute.instances.list"
ROLE = "roles/compute.viewer"
LOG_IN = "As the controller's user, run 'gcloud auth application-default login' or set GOOGLE_APPLICATION_CREDENTIALS."
_TOO_MANY = ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "RATE_LIMIT_EXCEEDED")
_API_IS_OFF = ("accessNotConfigured", "SERVICE_DISABLED")
_SCOPE_IS_MISSING = ("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")


def foreseen() -> tuple[type[Exception], ...]:
    """Return what the SDK, and what it stands on, raises."""
    from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.protobuf.json_format import ParseError  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    # The last three are how the SDK stumbles over an answer that is JSON, but not Google's.
    return GoogleAPIError, GoogleAuthError, ParseError, RequestException, ValueError, TypeError, AttributeError


def is_transient(error: Exception) -> bool:
    """Return whether asking again at once may help: Google is busy, or the way to it is."""
    from google.api_core.retry import if_transient_error  # noqa: PLC0415

    return bool(if_transient_error(error)) or getattr(error, "code", None) in (502, 504) or _is_too_many(error)


def explain(error: Exception, project: str) -> ClarionError:
    """Return the error to raise instead of one of those `foreseen`."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        return explain(error.cause, project)
    if isinstance(error, GoogleAuthError):
        return _no_credentials(error)
    if isinstance(error, GoogleAPICallError):
        return _ANSWERS.get(int(error.code or 0), _unavailable)(error, project)
    return _unavailable(_root(error), project)


def _no_credentials(error: Exception) -> ClarionError:
    from google.auth.exceptions import DefaultCredentialsError, TransportError  # noqa: PLC0415

    if any(isinstance(part, TransportError) or getattr(part, "retryable", False) for part in (error, error.__cause__)):
        return CloudUnavailable(f"Google's token service does not answer: {_quoted(_root(error))}", hint=_LATER)
    if isinstance(error, DefaultCredentialsError):
        return CloudRefused(f"there are no credentials for Google Cloud: {_quoted(error)}", hint=LOG_IN)
    return CloudRefused(f"Google gives no token for the credentials; have they expired? {_quoted(error)}", hint=LOG_IN)


def _unauthorised(error: Any, _: str) -> ClarionError:
    return CloudRefused(f"Google does not accept the credentials: {_quoted(error)}", hint=LOG_IN)


def _forbidden(error: Any, project: str) -> ClarionError:
    reasons = set(_reasons(error))
    if _is_too_many(error):
        return CloudUnavailable(f"Google asks for patience: {_quoted(error)}", hint=_LATER)
    if not reasons.isdisjoint(_API_IS_OFF):
        hint = f"Run 'gcloud services enable compute.googleapis.com --project {project}'."
        return CloudRefused(f"the project {project} does not have the Compute Engine API switched on", hint=hint)
    if not reasons.isdisjoint(_SCOPE_IS_MISSING):
        hint = "On a VM: stop it; 'gcloud compute instances set-service-account VM --scopes cloud-platform'; start it."
        return CloudRefused("the access scopes of the controller's credentials do not reach Compute Engine", hint=hint)
    return CloudRefused(
        f"Google does not let the controller list the instances of {project}: {_quoted(error)}",
        hint=f"It needs {PERMISSION}: run 'gcloud projects add-iam-policy-binding {project}"
        f" --member serviceAccount:ACCOUNT --role {ROLE}'. Google says the same of some projects that do not exist.",
    )


def _no_project(error: Any, project: str) -> ClarionError:
    return BadConfig(f"Google knows no project {project!r}: {_quoted(error)}", hint="See 'gcloud projects list'.")


def _bad_request(error: Any, _: str) -> ClarionError:
    hint = "Correct the gcp source in fleet.toml; 'gcloud compute zones list' lists the zones."
    return BadConfig(f"Google does not understand what is asked: {_quoted(error)}", hint=hint)


def _unavailable(error: BaseException, _: str) -> ClarionError:
    return CloudUnavailable(f"Compute Engine does not answer as it should: {_quoted(error)}", hint=_LATER)


_LATER = "It is asked again later; 'curl -sI https://compute.googleapis.com' shows whether it can be reached."
_ANSWERS: dict[int, Callable[[Any, str], ClarionError]] = {
    400: _bad_request,
    401: _unauthorised,
    403: _forbidden,
    404: _no_project,
}


def _is_too_many(error: Exception) -> bool:
    """Return whether it is a rate limit, which Compute Engine also answers with 403."""
    return not set(_reasons(error)).isdisjoint(_TOO_MANY)


def _reasons(error: Any) -> Iterator[str]:
    """Return why, in Google's words, of both its ways of saying so."""
    yield str(getattr(error, "reason", ""))
    for detail in getattr(error, "errors", ()):
        if isinstance(detail, dict):
            yield str(detail.get("reason", ""))


def _quoted(error: BaseException) -> str:
    """Return one short line of what was said, without the address that was asked."""
    said = " ".join(str(getattr(error, "message", "") or error or type(error).__name__).split())
    said = re.sub(r"^([A-Z]+ https?://\S+: |\[Errno \d+\] )", "", said)
    return said if len(said) <= QUOTED else said[: QUOTED - 1] + "…"


def _root(error: BaseException) -> BaseException:
    """Return what went wrong first: "Connection refused", where the SDK's own words are a paragraph."""
    deeper = error.__cause__ or error.__context__
    return _root(deeper) if deeper else error
