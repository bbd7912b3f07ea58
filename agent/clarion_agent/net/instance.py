"""Which server of its cloud this is: the number that the provider gave it, asked of the metadata service.

- Only a server that is in a cloud asks: `cloud` in agent.toml says in which, or, with "auto",
  the firmware does. In a container nobody is asked, because the number is its machine's.
- A server that is in a cloud and gets no answer does not join: without its number it would
  never be given anything, and nobody would see why.
- What is answered has to look like a number of that cloud, to the last character.

The services: AWS, "Use the Instance Metadata Service" (version 2, with a token); Google Cloud,
"View and query VM metadata"; Azure, "Azure Instance Metadata Service". The firmware's words
are those that systemd-detect-virt and cloud-init go by.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from clarion_agent.net.metadata_http import Answer, Ask, Question, ask_metadata_service
from clarion_protocol.errors import CloudRefused, CloudUnavailable
from clarion_protocol.words import is_instance

DMI = Path("/sys/class/dmi/id")
CONTAINER_MARKS = (Path("/run/systemd/container"), Path("/.dockerenv"), Path("/run/.containerenv"))
# Services come up late at boot.
PAUSES = (0.5, 1.0)

_AZURES_TAG = "7783-7084-3265-9085-8269-3286-77"
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,512}")
_CLOUDS = {"aws": "AWS", "gcp": "Google Cloud", "azure": "Azure"}
_NO_CLOUD = 'If this server is in no cloud, set cloud = "none" in agent.toml.'
_HINTS = {
    "aws": "Run 'aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled "
    f"--http-put-response-hop-limit 2'. {_NO_CLOUD}",
    "gcp": "Run 'curl -H Metadata-Flavor:Google http://169.254.169.254/computeMetadata/v1/instance/id' here. "
    f"{_NO_CLOUD}",
    "azure": "Run 'curl -H Metadata:true \"http://169.254.169.254/metadata/instance/compute/vmId"
    f"?api-version=2021-02-01&format=text\"' here. {_NO_CLOUD}",
}


class _NoInstance(Exception):
    """Why an attempt brought nothing; another one may."""


def which_cloud(setting: str) -> str:
    """Return the cloud that this server is in, as agent.toml's `cloud` or its firmware says; "none" for none."""
    if setting != "auto":
        return setting
    return "none" if any(mark.exists() for mark in CONTAINER_MARKS) else _named_by(_firmware)


def read_instance(cloud: str, ask: Ask = ask_metadata_service) -> str:
    """Return this server's instance, such as "aws:i-0abc1234"; "" in the cloud "none".

    Raises:
        CloudUnavailable: the metadata service does not answer, or with something else.
        CloudRefused: it does not answer this server.
    """
    if cloud == "none":
        return ""
    trouble = ""
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        instance, trouble = _attempt(cloud, ask)
        if instance:
            return instance
    raise CloudUnavailable(
        f"the metadata service of {_CLOUDS[cloud]} does not say which server this is: {trouble}", hint=_HINTS[cloud]
    )


def _attempt(cloud: str, ask: Ask) -> tuple[str, str]:
    """Return the instance, or else why there is none."""
    try:
        return _READERS[cloud](ask), ""
    except (OSError, _NoInstance) as error:
        return "", str(error)


def _named_by(firmware: Callable[[str], str]) -> str:
    """Return the cloud that the firmware's tables name. Hyper-V is not Azure, so the vendor alone is not enough."""
    if firmware("sys_vendor") == "Amazon EC2" or firmware("bios_version").lower().endswith("amazon"):
        return "aws"
    if firmware("product_name") == "Google Compute Engine":
        return "gcp"
    return "azure" if firmware("chassis_asset_tag") == _AZURES_TAG else "none"


def _firmware(name: str) -> str:
    try:
        return (DMI / name).read_text("ascii", errors="replace").strip()
    except OSError:
        return ""


def _aws(ask: Ask) -> str:
    token = _body(ask(Question("/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")), "aws")
    if not _TOKEN.fullmatch(token):
        raise _NoInstance("its session token makes no sense")
    answer = ask(Question("/latest/meta-data/instance-id", {"X-aws-ec2-metadata-token": token}))
    return _instance("aws", answer)


def _gcp(ask: Ask) -> str:
    answer = ask(Question("/computeMetadata/v1/instance/id", {"Metadata-Flavor": "Google"}))
    instance = _instance("gcp", answer)
    # Whoever else listens at this address, a captive portal for instance, does not say so.
    if answer.headers.get("metadata-flavor") != "Google":
        raise _NoInstance("whoever answers there is not Google's")
    return instance


def _azure(ask: Ask) -> str:
    path = "/metadata/instance/compute/vmId?api-version=2021-02-01&format=text"
    return _instance("azure", ask(Question(path, {"Metadata": "true"})))


_READERS: dict[str, Callable[[Ask], str]] = {"aws": _aws, "gcp": _gcp, "azure": _azure}


def _instance(cloud: str, answer: Answer) -> str:
    text = _body(answer, cloud)
    instance = f"{cloud}:{text.lower() if cloud == 'azure' else text}"
    if not is_instance(instance):
        raise _NoInstance(f"it answers {text[:60]!r}, which is no number of a server")
    return instance


def _body(answer: Answer, cloud: str) -> str:
    if answer.status == 403:
        said = f"the metadata service of {_CLOUDS[cloud]} does not answer this server (status 403)"
        raise CloudRefused(said, hint=_HINTS[cloud])
    if answer.status != 200:
        raise _NoInstance(f"it answers with status {answer.status}")
    try:
        return answer.body.decode("ascii")
    except UnicodeDecodeError as error:
        raise _NoInstance("it answers something that is no text") from error
