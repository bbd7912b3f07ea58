"""What EC2's errors mean when servers are made: whose fault, in one sentence, and the next command.

What is not about making servers means the same as when they are listed: see `discover.aws_errors`.
"""

from __future__ import annotations

import re
from typing import Any

from clarion_controller.discover import aws_errors
from clarion_controller.discover.aws_errors import Asked, explain
from clarion_controller.discover.said import Said
from clarion_controller.fleet_toml.roles import AwsServer
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

LATER = "Try again later; https://health.aws.amazon.com says what AWS knows."
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")

_FORBIDDEN = Said(
    CloudRefused,
    "AWS forbids {action} in {region} to these credentials",
    "Allow {action} in IAM; docs/how-to/provision-a-server.md has the whole policy. Nothing was made.",
)
_CAPACITY = Said(
    CloudUnavailable,
    "AWS has no {instance_type} free in {place} now ({code})",
    "Try again later, or give the role another instance_type, or a subnet in another zone.",
)
_QUOTA = Said(
    CloudRefused,
    "a quota of this AWS account is used up in {region}: {quoted}",
    "Ask for more: 'aws service-quotas list-service-quotas --service-code ec2 --region {region}', or end what is idle.",
)
_IMAGE = Said(
    BadConfig,
    "AWS has no image {image} in {region} for this account",
    "Correct image: 'aws ec2 describe-images --image-ids {image} --region {region}'. Images are of one region.",
)
_SUBNET = Said(
    BadConfig,
    "AWS has no subnet {subnet} in {region}",
    "Correct subnet: 'aws ec2 describe-subnets --region {region}' shows them.",
)
_GROUP = Said(
    BadConfig,
    "AWS does not know one of the security groups {security_groups} in the network of that subnet",
    "Correct security_groups (ids, sg-...): 'aws ec2 describe-security-groups --region {region}' shows them.",
)
_KEY = Said(
    BadConfig,
    "AWS has no key pair {key_name} in {region}",
    "Correct key_name, or leave it out: 'aws ec2 describe-key-pairs --region {region}' shows them.",
)
_PROFILE = Said(
    BadConfig,
    "AWS has no instance profile {iam_profile}",
    "Correct iam_profile: 'aws iam list-instance-profiles' shows them; a role is not a profile.",
)
_SETTING = Said(
    BadConfig,
    "AWS does not make such a server in {region}: {quoted}",
    "Correct the aws table of the role in fleet.toml.",
)

_BY_CODE: dict[str, Said] = {
    **dict.fromkeys(_DENIED, _FORBIDDEN),
    **dict.fromkeys(["InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity"], _CAPACITY),
    **dict.fromkeys(["InsufficientFreeAddressesInSubnet", "Server.InsufficientInstanceCapacity"], _CAPACITY),
    **dict.fromkeys(["InstanceLimitExceeded", "VcpuLimitExceeded", "VolumeLimitExceeded"], _QUOTA),
    **dict.fromkeys(["MaxSpotInstanceCountExceeded", "AddressLimitExceeded", "Client.VolumeLimitExceeded"], _QUOTA),
    **dict.fromkeys(["InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"], _IMAGE),
    **dict.fromkeys(["InvalidSubnetID.NotFound", "InvalidSubnet"], _SUBNET),
    **dict.fromkeys(["InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidSecurityGroupID.NotFound"], _GROUP),
    **dict.fromkeys(["InvalidKeyPair.NotFound"], _KEY),
    **dict.fromkeys(["NoSuchEntity", "InvalidIamInstanceProfileArn.NotFound"], _PROFILE),
    **dict.fromkeys(["InvalidParameterValue", "InvalidParameterCombination", "InvalidParameter"], _SETTING),
    **dict.fromkeys(["Unsupported", "UnsupportedOperation", "MissingParameter", "VPCIdNotSpecified"], _SETTING),
}


def code_of(error: BaseException) -> str:
    """Return the code with which EC2 has answered; "" if it has not."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def is_refusal(error: BaseException) -> bool:
    """Return whether an error of ours stands for EC2's own word, to the only request, that it has done nothing."""
    said = _answer(error.__cause__).get("ResponseMetadata", {})
    return 400 <= said.get("HTTPStatusCode", 0) < 500 and not said.get("RetryAttempts", 0)


def explained_for(error: Exception, server: AwsServer, action: str) -> ClarionError:
    """Return what to raise instead of an error of boto3."""
    code = code_of(error)
    if code in _BY_CODE or (code and not aws_errors.is_known(error)):
        return said_of(code, str(_answer(error)["Error"].get("Message", "")), server, action)
    known = explain(error, Asked(action, server.region, server.profile, server.endpoint))
    return CloudUnavailable(known.message, hint=LATER) if isinstance(known, CloudUnavailable) else known


def said_of(code: str, message: str, server: AwsServer, action: str = "") -> ClarionError:
    """Return the error for what EC2 says in words of its own, of a request or of a server that has ended."""
    facts: dict[str, Any] = {name: getattr(server, name) for name in server.__struct_fields__}
    named = _ACTION.search(message)
    facts["action"] = named[1] if named else action
    facts["place"] = server.subnet or server.region
    facts["security_groups"] = ", ".join(server.security_groups)
    quoted = "".join(letter for letter in message.partition("\n")[0] if letter.isprintable())[:200]
    return _BY_CODE.get(code, _SETTING).of(code=code, quoted=quoted, **facts)


def is_known(code: str) -> bool:
    """Return whether there are words for it here."""
    return code in _BY_CODE


def _answer(error: BaseException | None) -> dict[str, Any]:
    return getattr(error, "response", None) or {}
