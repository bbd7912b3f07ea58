"""Who the controller is for Google, and how it signs addresses.

A service account with a key file signs here. One without, as every machine of Google's has, lets IAM sign,
and must be allowed to: the role roles/iam.serviceAccountTokenCreator on itself. A person's own login cannot sign.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from clarion_controller.stores.sdk import load
from clarion_protocol.errors import CloudRefused

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"  # storage, and IAM's signBlob
_TOKENS = "https://oauth2.googleapis.com/token"
_TIMEOUT = 10  # seconds

SIGNING_HINT = (
    "Give its service account roles/iam.serviceAccountTokenCreator on itself, or a key file "
    '(GOOGLE_APPLICATION_CREDENTIALS); or write deliver = "proxy" into [store].'
)


def own_credentials() -> Any:
    """Return the credentials that google-auth finds here: a key file, a login, or the machine's service account."""
    credentials, _ = load("google.auth", "gcp").default(scopes=[_SCOPE])
    return credentials


def signing(credentials: Any) -> Any:
    """Return credentials that can sign in the name of these.

    Raises:
        CloudRefused: nobody can.
    """
    if isinstance(credentials, load("google.auth.credentials", "gcp").Signing):
        return credentials
    request = partial(load("google.auth.transport.requests", "gcp").Request(), timeout=_TIMEOUT)
    email = getattr(credentials, "service_account_email", None)
    if email == "default":  # of a machine of Google's, until it is asked
        credentials.refresh(request)
        email = credentials.service_account_email
    if not email:
        raise CloudRefused("these Google credentials cannot sign addresses for hosts", hint=SIGNING_HINT)
    signer = load("google.auth.iam", "gcp").Signer(request, credentials, email)
    return load("google.oauth2.service_account", "gcp").Credentials(signer, email, _TOKENS)
