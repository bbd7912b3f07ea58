"""How AWS is spoken to: with which credentials, in which regions, and for how long at most.

boto3 is loaded inside the functions that need it, never with this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from clarion_controller.discover.aws_errors import Asked, explain
from clarion_protocol.errors import BadConfig

CONNECT_S, READ_S, ATTEMPTS = 3, 7, 3
WHO_S = 2


@dataclass(frozen=True)
class AwsSession:
    """A session of boto3 for one profile ("" is whatever boto3 finds) and endpoint ("" is AWS itself).

    Its clients may be shared by threads, but must be made by one.
    """

    session: Any
    profile: str
    endpoint: str

    def client(self, region: str, seconds: int = READ_S) -> Any:
        """Return a client for EC2 that waits for each answer so long, and so gives up soon.

        Raises:
            BadConfig: the region's name or a setting of boto3's own files cannot be used.
        """
        with self.explained(region):
            return self._client("ec2", region, seconds, ATTEMPTS)

    def regions(self) -> set[str]:
        """Return the regions in which boto3 knows that there is EC2."""
        parts = self.session.get_available_partitions()
        return {name for part in parts for name in self.session.get_available_regions("ec2", partition_name=part)}

    @contextmanager
    def explained(self, region: str, action: str = "") -> Iterator[None]:
        """Raise errors of boto3 as those of Clarion.

        Raises:
            BadConfig, CloudRefused, CloudUnavailable: as `aws_errors` says.
        """
        asked = Asked(action, region, self.profile, self.endpoint, lambda: self._who(region))
        try:
            yield
        except _sdk_errors() as error:
            raise explain(error, asked) from error

    def _who(self, region: str) -> str:
        """Return as whom AWS knows us, or "" if it does not say so at once."""
        try:
            return str(self._client("sts", region, WHO_S, 1).get_caller_identity().get("Arn", ""))
        except _sdk_errors():
            return ""

    def _client(self, service: str, region: str, seconds: int, attempts: int) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        config = Config(
            connect_timeout=min(CONNECT_S, seconds),
            read_timeout=seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            user_agent_extra=f"clarion/{version('clarion')}",
        )
        return self.session.client(service, region_name=region, endpoint_url=self.endpoint or None, config=config)


def open_session(profile: str, endpoint: str) -> AwsSession:
    """Return a session of boto3.

    Raises:
        BadConfig: boto3 is not installed, there is no such profile, or the endpoint is no address.
    """
    try:
        import boto3  # noqa: PLC0415
        from botocore.exceptions import ConfigParseError, ProfileNotFound  # noqa: PLC0415
    except ImportError as error:
        hint = "Install it where the controller runs: pip install 'clarion[aws]'"
        raise BadConfig("boto3, with which AWS is asked, is not installed", hint=hint) from error
    if endpoint and not _is_address(endpoint):
        raise BadConfig("the endpoint of an aws source is no address", hint='Write "https://ec2.example.net".')
    try:
        return AwsSession(boto3.Session(profile_name=profile or None), profile, endpoint)
    except ProfileNotFound as error:
        raise _no_profile(error.kwargs["profile"]) from error
    except ConfigParseError as error:
        raise explain(error, Asked("", "", profile)) from error


def near(name: str, known: set[str]) -> str:
    """Return a hint that names what comes near to `name`."""
    found = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(found)}?" if found else f"Known: {', '.join(sorted(known)) or 'none'}."


def _no_profile(name: str) -> BadConfig:
    from botocore.session import Session  # noqa: PLC0415

    return BadConfig(
        f"there is no AWS profile {name!r} in the configuration of the user that runs the controller",
        hint=f"{near(name, set(Session().available_profiles))} 'aws configure list-profiles' shows them.",
    )


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _sdk_errors() -> tuple[type[Exception], ...]:
    """Return what boto3 raises when AWS, or what answers in its place, does not give what was asked for."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    # On some nonsense boto3 itself breaks: it takes any well-formed XML for an answer of AWS.
    return BotoCoreError, ClientError, ResponseParserError, AttributeError, TypeError, ValueError
