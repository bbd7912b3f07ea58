"""How a bucket of S3 is spoken to: as whom, in which region, and for how long at most."""

from __future__ import annotations

from typing import Any

from clarion_controller.discover.aws_session import open_session
from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.s3_trouble import code_of
from clarion_controller.stores.sdk import load
from clarion_protocol.errors import BadConfig


def open_client(config: fleet.S3) -> Any:
    """Return a client of boto3's, once it is known that the bucket is where the client will look for it.

    Raises:
        BadConfig: boto3 is not installed, there is no such profile, or the region is missing or wrong.
    """
    session = open_session(config.profile, config.endpoint).session
    region = _region(config, session)
    client = session.client("s3", region_name=region, endpoint_url=config.endpoint or None, config=_settings(config))
    _check_region(client, config, region)
    return client


def _region(config: fleet.S3, session: Any) -> str:
    region = config.region or session.region_name or ("us-east-1" if config.endpoint else "")
    if not region:
        raise BadConfig(
            f"nobody says in which region the bucket {config.bucket} is",
            hint='Add region = "..." to [store.s3] in fleet.toml.',
        )
    return str(region)


def _settings(config: fleet.S3) -> Any:
    return load("botocore.config", "aws").Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        signature_version="s3v4",
        s3={"addressing_style": "path" if config.endpoint else "virtual"},
        # What boto3 adds of its own to each request, others than S3 do not understand; our checksum is there.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _check_region(client: Any, config: fleet.S3, region: str) -> None:
    """Find out now what would fail on every host: an address is signed for one region, and boto3 finds others."""
    try:
        answer = client.head_bucket(Bucket=config.bucket)
    except client.exceptions.ClientError as error:
        if code_of(error) in ("404", "NoSuchBucket"):
            raise
        answer = error.response
    actual = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region", region)
    if actual != region and not config.endpoint:
        raise BadConfig(
            f"the bucket {config.bucket} is in {actual}, not in {region}",
            hint=f'Write region = "{actual}" into [store.s3] in fleet.toml.',
        )
