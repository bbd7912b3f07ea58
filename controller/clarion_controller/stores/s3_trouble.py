"""What goes wrong with S3, in our words: who is at fault, and what to do.

What S3 or a proxy wrote is not quoted, only its code: it may hold tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clarion_controller.discover.aws_errors import Asked, explain
from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.sdk import load
from clarion_protocol.errors import BadConfig, BadContent, ClarionError, CloudRefused, CloudUnavailable

_FORBIDDEN = {"403", "AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden"}
_NO_BUCKET = {"404", "NoSuchBucket", "NotFound"}
_WRONG_REGION = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_WRONG_BYTES = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_WRONG_SETTING = ("ParamValidationError", "InvalidRegionError", "EndpointProviderError", "InvalidBucketName")


def code_of(error: Any) -> str:
    """Return the code of an error that S3 answered with, or "" if it did not answer, or nothing that is a code."""
    code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))
    return code if code.isascii() and code.isalnum() else ""


@contextmanager
def trouble(config: fleet.S3, permission: str) -> Iterator[None]:
    """Say in our words what boto3 raises; `permission` is what the call needs.

    Raises:
        CloudUnavailable, CloudRefused, BadConfig, BadContent: as `Store` says.
    """
    errors, parsers = load("botocore.exceptions", "aws"), load("botocore.parsers", "aws")
    try:
        yield
    except errors.ClientError as error:
        raise _answered(error, config, permission) from error
    except (errors.BotoCoreError, parsers.ResponseParserError) as error:
        raise _failed(error, config) from error


def _answered(error: Any, config: fleet.S3, permission: str) -> ClarionError:
    code, bucket = code_of(error), config.bucket
    if code in _NO_BUCKET:
        return BadConfig(f"there is no bucket {bucket!r}", hint="Correct bucket in [store.s3]; 'aws s3 ls' shows them.")
    if code in _WRONG_REGION:
        return BadConfig(f"the bucket {bucket} is in another region ({code})", hint="Correct region in [store.s3].")
    if code in _WRONG_BYTES:
        return BadContent(f"the bytes changed on their way into the bucket {bucket} ({code})", hint="Publish again.")
    if code in _FORBIDDEN:
        return _forbidden(bucket, permission)
    return _failed(error, config)


def _forbidden(bucket: str, permission: str) -> CloudRefused:
    if permission != "s3:GetObject":
        return CloudRefused(f"the bucket {bucket} forbids {permission}", hint=f"Allow {permission} in the IAM policy.")
    return CloudRefused(
        f"the bucket {bucket} forbids {permission}, or has no such object",
        hint=f"Allow {permission}, and s3:ListBucket: without it, S3 says 403 for what is not there, too.",
    )


def _failed(error: Any, config: fleet.S3) -> ClarionError:
    """Return what the error means: of credentials, what it means wherever AWS is asked."""
    name = type(error).__name__
    if name in _WRONG_SETTING or code_of(error) in _WRONG_SETTING:
        return BadConfig(f"[store.s3] cannot be used: {error}", hint="Correct bucket, region or endpoint.")
    meant = explain(error, Asked("", config.region, config.profile, config.endpoint))
    if isinstance(meant, CloudRefused):
        return meant
    return silent(config, code_of(error) or name)


def silent(config: fleet.S3, name: str) -> CloudUnavailable:
    """Return the error for an answer that did not come, or is none."""
    return CloudUnavailable(
        f"the bucket {config.bucket} does not answer as S3 does ({name})",
        hint="Try again; check the controller's way out: DNS, routes, HTTPS_PROXY.",
    )
