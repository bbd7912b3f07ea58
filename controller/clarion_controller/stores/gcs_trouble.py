"""What goes wrong with Cloud Storage, in our words: who is at fault, and what to do.

What Google or a proxy wrote is not quoted: it may hold tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clarion_controller.stores.gcs_signing import SIGNING_HINT
from clarion_controller.stores.sdk import load
from clarion_protocol.errors import BadConfig, BadContent, ClarionError, CloudRefused, CloudUnavailable

# What these libraries raise when an answer is not of the shape that they know.
TRIPS = (AttributeError, KeyError, TypeError, ValueError)
_LOGIN_HINT = (
    "Give the controller's machine a service account, name a key file in GOOGLE_APPLICATION_CREDENTIALS, "
    "or run 'gcloud auth application-default login' as its user."
)


@contextmanager
def trouble(bucket: str, permission: str) -> Iterator[None]:
    """Say in our words what Google's libraries raise; `permission` is what the call needs.

    Raises:
        CloudUnavailable, CloudRefused, BadConfig, BadContent: as `Store` says.
    """
    api, auth = load("google.api_core.exceptions", "gcp"), load("google.auth.exceptions", "gcp")
    requests, storage = load("requests", "gcp"), load("google.cloud.storage.exceptions", "gcp")
    try:
        yield
    except api.GoogleAPICallError as error:
        raise _answered(error, bucket, permission) from error
    except auth.TransportError as error:
        raise _not_signed(error) or _silent(error, bucket) from error
    except auth.GoogleAuthError as error:
        raise CloudRefused(
            f"Google does not accept the controller's credentials ({type(error).__name__})", hint=_LOGIN_HINT
        ) from error
    except (
        api.GoogleAPIError,
        storage.InvalidResponse,
        storage.DataCorruption,
        requests.RequestException,
        ConnectionError,
        *TRIPS,
    ) as error:
        raise _silent(error, bucket) from error


def _answered(error: Any, bucket: str, permission: str) -> ClarionError:
    if error.code == 404:
        return BadConfig(
            f"there is no bucket {bucket!r}", hint="Correct bucket in [store.gcs]; 'gcloud storage ls' shows them."
        )
    if error.code == 403:
        return CloudRefused(
            f"the bucket {bucket} forbids {permission}",
            hint=f"Allow {permission}, for example by the role roles/storage.objectUser on the bucket.",
        )
    if error.code == 401:
        return CloudRefused("Google does not accept the controller's credentials (401)", hint=_LOGIN_HINT)
    if error.code == 400 and "crc32c" in str(error).lower():
        return BadContent(f"the bytes changed on their way into the bucket {bucket}", hint="Publish again.")
    if error.code == 400:
        return BadConfig(
            f"Google does not accept the request to the bucket {bucket!r} (400)",
            hint="Correct bucket, prefix and endpoint in [store.gcs].",
        )
    return _silent(error, bucket)


def _not_signed(error: Exception) -> ClarionError | None:
    """Return what a refusal of IAM means; google-auth tells it from silence only by its words."""
    if "IAM" not in str(error):
        return None
    return CloudRefused("Google does not let the controller sign addresses for hosts", hint=SIGNING_HINT)


def _silent(error: Any, bucket: str) -> CloudUnavailable:
    name = getattr(error, "code", None) or type(error).__name__
    return CloudUnavailable(
        f"the bucket {bucket} does not answer as Cloud Storage does ({name})",
        hint="Try again; check the controller's way out: DNS, routes, HTTPS_PROXY.",
    )
