"""Who the controller is for Azure Blob Storage, and how it signs addresses (SAS).

- With the account's key, if AZURE_STORAGE_KEY or AZURE_STORAGE_CONNECTION_STRING holds it: it never travels.
- Else with a token, and a key that Azure hands out for a day to who has one (user delegation).
- An `http://` endpoint gets no token: it would travel in plain text.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from threading import Lock
from typing import Any

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.sdk import load
from clarion_protocol.errors import BadConfig

LONGEST_TTL = 6 * 24 * 3600  # seconds; a user delegation key is good for a week, and asked for ahead of time
_AHEAD = timedelta(days=1)
_CLOCKS = timedelta(minutes=15)  # by how much Azure's clock and ours may differ


def url_of(config: fleet.AzureBlob) -> str:
    """Return the address of the account: the endpoint, as a connection string's BlobEndpoint has it, or Azure's own."""
    return config.endpoint.rstrip("/") or f"https://{config.account}.blob.core.windows.net"


def is_encrypted(config: fleet.AzureBlob) -> bool:
    """Return whether what travels to the account can be read by nobody else."""
    return url_of(config).startswith("https://")


def account_key(config: fleet.AzureBlob) -> str | None:
    """Return the account's key, if the environment holds it.

    Raises:
        BadConfig: what it holds is another account's.
    """
    if key := os.environ.get("AZURE_STORAGE_KEY"):
        return key
    parts = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    said = {name: value for name, _, value in (part.partition("=") for part in parts)}
    if said.get("AccountName", config.account) != config.account:
        raise BadConfig(
            f"AZURE_STORAGE_CONNECTION_STRING is of the account {said['AccountName']!r}, not of {config.account!r}",
            hint="Correct account in [store.azure], or what the controller's environment holds.",
        )
    return said.get("AccountKey")


def credential(config: fleet.AzureBlob) -> Any:
    """Return what to sign in with: the account's key, a token, or nothing.

    Raises:
        BadConfig: the environment holds another account's key, or settings that do not fit together.
    """
    if key := account_key(config):
        return {"account_name": config.account, "account_key": key}
    if not is_encrypted(config):
        return None
    try:
        return load("azure.identity", "azure").DefaultAzureCredential(
            exclude_broker_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            exclude_powershell_credential=True,
            exclude_developer_cli_credential=True,
            process_timeout=10,
            connection_timeout=5,
            read_timeout=10,
            retry_total=1,
        )
    except ValueError as error:
        raise BadConfig(f"the AZURE_* environment of the controller does not fit: {error}") from error


class Signer:
    """Signs addresses of one container, and keeps Azure's key for it."""

    def __init__(self, config: fleet.AzureBlob, service: Any) -> None:
        self._config, self._service = config, service
        self._lock = Lock()
        self._delegation: tuple[datetime, Any] | None = None

    def sign(self, blob: str, ttl: float) -> str:
        """Return the query that lets anybody read `blob` for `ttl` seconds, at most six days."""
        sdk, now = load("azure.storage.blob", "azure"), datetime.now(timezone.utc)
        until = now + timedelta(seconds=min(ttl, LONGEST_TTL))
        key = account_key(self._config)
        return str(
            sdk.generate_blob_sas(
                self._config.account,
                self._config.container,
                blob,
                permission=sdk.BlobSasPermissions(read=True),
                start=now - _CLOCKS,
                expiry=until,
                protocol="https" if is_encrypted(self._config) else "https,http",
                **({"account_key": key} if key else {"user_delegation_key": self._delegated(now, until)}),
            )
        )

    def _delegated(self, now: datetime, until: datetime) -> Any:
        """Return a key of Azure's that is good until then; asking for one takes a request, so it is kept."""
        with self._lock:
            if self._delegation is None or self._delegation[0] < until:
                expiry = until + _AHEAD
                self._delegation = expiry, self._service.get_user_delegation_key(now - _CLOCKS, expiry)
            return self._delegation[1]
