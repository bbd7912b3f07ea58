"""What goes wrong with Azure Blob Storage, in our words: who is at fault, and what to do.

What Azure or a proxy wrote is not quoted, only its code: it may hold tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.sdk import load
from clarion_protocol.errors import BadConfig, BadContent, ClarionError, CloudRefused, CloudUnavailable

# What the SDK raises when an answer is not of the shape that it knows.
TRIPS = (AttributeError, KeyError, TypeError, ValueError)
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices"
_SIGN_IN_HINT = (
    "Give the controller's machine a managed identity, set AZURE_STORAGE_KEY, or run 'az login' as its user; "
    "a clock that is wrong ('timedatectl') is answered alike."
)
_WRONG_BYTES = {"Md5Mismatch", "InvalidMd5"}
_WRONG_SETTING = {"InvalidResourceName", "InvalidUri", "OutOfRangeInput"}


def code_of(error: Any) -> str:
    """Return the code that Azure answered, or "" if it did not, or nothing that is a code."""
    said = getattr(error, "error_code", None) or ""
    code = str(getattr(said, "value", said))
    return code if code.isascii() and code.isalnum() else ""


@contextmanager
def trouble(config: fleet.AzureBlob, action: str) -> Iterator[None]:
    """Say in our words what Azure's SDK raises; `action` is what the call does to blobs.

    Raises:
        CloudUnavailable, CloudRefused, BadConfig, BadContent: as `Store` says.
    """
    errors = load("azure.core.exceptions", "azure")
    try:
        yield
    except errors.ClientAuthenticationError as error:
        name = code_of(error) or type(error).__name__
        raise CloudRefused(
            f"Azure does not accept the controller's credentials ({name})", hint=_SIGN_IN_HINT
        ) from error
    except errors.HttpResponseError as error:
        raise _answered(error, config, action) from error
    except (errors.AzureError, errors.DeserializationError, *TRIPS) as error:
        raise _silent(config, type(error).__name__) from error


def _answered(error: Any, config: fleet.AzureBlob, action: str) -> ClarionError:
    code, place = code_of(error), f"the container {config.container} of {config.account}"
    if code == "ContainerNotFound":
        return BadConfig(
            f"there is no container {config.container!r} in the storage account {config.account}",
            hint=f"Make it: az storage container create --account-name {config.account} --name {config.container}",
        )
    if code in _WRONG_BYTES:
        return BadContent(f"the bytes changed on their way into {place} ({code})", hint="Publish again.")
    if code in _WRONG_SETTING:
        return BadConfig(f"Azure has no place such as {place} ({code})", hint="Correct [store.azure] in fleet.toml.")
    if error.status_code == 403:
        return CloudRefused(f"{place} forbids to {action} ({code or 403})", hint=_role_hint(action))
    return _silent(config, code or str(error.status_code))


def _role_hint(action: str) -> str:
    if action == "generateUserDelegationKey":
        return (
            f"Give the controller the role Storage Blob Delegator on the account ({_BLOBS}/{action}/action), "
            'or write deliver = "proxy" into [store].'
        )
    return (
        f"Give the controller the role Storage Blob Data Contributor on the container ({_BLOBS}/containers/blobs/"
        f"{action}), and look at the account's firewall."
    )


def _silent(config: fleet.AzureBlob, name: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"the storage account {config.account} does not answer as Azure does ({name})",
        hint="Try again; check account in [store.azure], and the controller's way out: DNS, routes, HTTPS_PROXY.",
    )
