"""A client of Azure Resource Graph that signs in as the cloud at its endpoint wants it, and gives up soon.

- The SDK's own chain of credentials is asked: environment, workload identity, managed identity, Azure CLI;
  not what asks a person, or belongs to a developer's desk.
- An `http://` endpoint gets no credentials: they would travel in plain text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from clarion_controller.discover.azure_graph import Limits
from clarion_protocol.errors import BadConfig

PUBLIC = "https://management.azure.com"
# Where the clouds that are not the public one sign in, and what their tokens are for.
_SIGN_IN = {
    "management.chinacloudapi.cn": ("login.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
    "management.usgovcloudapi.net": (
        "login.microsoftonline.us",
        "https://management.core.usgovcloudapi.net/.default",
    ),
}


@contextmanager
def open_client(endpoint: str, limits: Limits) -> Iterator[Any]:
    """Return the SDK's client, which asks each question once and never waits for ever.

    Raises:
        BadConfig: the SDK is not installed, or the endpoint is no address.
    """
    url = address_of(endpoint)
    with ExitStack() as opened:
        try:
            access = signed_in(opened, url, limits) if url.startswith("https:") else _anonymous()
            client = opened.enter_context(_client(url, limits, access))
        except ImportError as error:
            raise BadConfig(
                "the SDK for Azure is not installed",
                hint="Install it where the controller runs: pip install 'clarion[azure]'",
            ) from error
        yield client


def address_of(endpoint: str) -> str:
    """Return where Azure Resource Manager is: at the endpoint, else in the public cloud.

    Raises:
        BadConfig: the endpoint is no address.
    """
    url = (endpoint or PUBLIC).rstrip("/")
    address = urlsplit(url)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise BadConfig(f"endpoint {endpoint!r} is no address", hint=f'Write it as "{PUBLIC}".')
    return url


def _client(url: str, limits: Limits, access: dict[str, Any]) -> Any:
    from azure.mgmt.resourcegraph import ResourceGraphClient  # noqa: PLC0415

    return ResourceGraphClient(
        base_url=url,
        connection_timeout=limits.connect,
        read_timeout=limits.read,
        retry_total=0,
        permit_redirects=False,
        **access,
    )


def _anonymous() -> dict[str, Any]:
    from azure.core.credentials import AzureKeyCredential  # noqa: PLC0415
    from azure.core.pipeline.policies import SansIOHTTPPolicy  # noqa: PLC0415

    return {"credential": AzureKeyCredential("none"), "authentication_policy": SansIOHTTPPolicy()}


def signed_in(opened: ExitStack, url: str, limits: Limits) -> dict[str, Any]:
    """Return the credentials for the cloud at `url`; they are closed with `opened`."""
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    # It warns of each attempt that fails, at length; what is raised says it too.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    authority, scope = _SIGN_IN.get(urlsplit(url).hostname or "", (None, f"{url}/.default"))
    try:
        chain = DefaultAzureCredential(
            authority=authority,
            exclude_interactive_browser_credential=True,
            exclude_broker_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            exclude_powershell_credential=True,
            exclude_developer_cli_credential=True,
            process_timeout=round(limits.read),
            connection_timeout=limits.connect,
            read_timeout=limits.read,
            retry_total=1,
        )
    except ValueError as error:
        raise BadConfig(f"the AZURE_* environment of the controller does not fit: {error}") from error
    return {"credential": opened.enter_context(chain), "credential_scopes": [scope]}
