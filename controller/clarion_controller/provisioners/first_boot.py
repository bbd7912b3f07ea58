"""The user data of a new server in a cloud: a script that makes it a host at its first boot. Pure text, no IO.

- It is bash: cloud-init runs it on AWS and Azure, Google's guest agent as startup script.
- No value is ever part of the program: each is quoted by `shlex`, or travels as base64.
- It may run at every boot, as Google's does: where there is a token or an identity, it does nothing.
- The token is written last, complete and for root alone; until then a failed run can be repeated.
- What happens is also written to the console, for that is all that is seen of a server which does not join.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from clarion_controller.provisioners.provisioner import FirstBoot
from clarion_protocol.errors import BadConfig

_HEAD = r"""#!/bin/bash
# Written by clarion: makes this server a host.
set -Eeuo pipefail
umask 022
say() {
    echo "clarion: $*"
    { echo "clarion: $*" > /dev/console; } 2> /dev/null || true
}
unpack() { printf %s "$1" | base64 -d; }
[ ! -e /var/lib/clarion-agent/identity ] || exit 0
[ ! -e /etc/clarion-agent/join.token ] || exit 0
trap 'say "the first boot failed at line $LINENO: $BASH_COMMAND"' ERR
work=$(mktemp -d /var/lib/clarion-first-boot.XXXXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p /etc/clarion-agent
cd /
"""

_CONFIG = r"""unpack "$config" > /etc/clarion-agent/agent.toml
chmod 0644 /etc/clarion-agent/agent.toml
"""

# A new server of Debian or Ubuntu updates itself at once, and holds dpkg's lock while it does.
_INSTALL = r"""say 'installs the agent'
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -q -y -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold "$@"; }
apt update
command -v curl > /dev/null || apt install --no-install-recommends ca-certificates curl
curl --proto =https --tlsv1.2 --fail --silent --show-error --location --retry 8 --retry-delay 3 --retry-connrefused \
    --connect-timeout 20 --max-time 600 --output "$work/clarion-agent.deb" -- "$agent"
cd "$work"
apt install ./clarion-agent.deb
cd /
"""

_SETUP = r"""say 'runs the setup script'
unpack "$setup" > "$work/setup"
chmod 0700 "$work/setup"
"$work/setup"
"""

_JOIN = r"""say 'joins'
( umask 077 && printf %s "$token" > /etc/clarion-agent/join.token.new )
mv /etc/clarion-agent/join.token.new /etc/clarion-agent/join.token
systemctl start --no-block clarion-agent-join.service
for _ in $(seq 90); do
    [ ! -e /var/lib/clarion-agent/identity ] || { say 'has joined'; exit 0; }
    sleep 2
done
say 'has not joined yet; clarion-agent-join.service goes on trying and says:'
{ journalctl --no-pager --lines 20 --output cat --unit clarion-agent-join.service > /dev/console; } 2> /dev/null || true
"""


@dataclass(frozen=True)
class Room:
    """How much user data a cloud takes (bytes, before base64), and whether what reads it there unpacks gzip."""

    cloud: str
    size: int
    takes_gzip: bool


def user_data(name: str, boot: FirstBoot, room: Room) -> bytes:
    """Return the user data of a server, packed if only so there is room for it.

    Raises:
        BadConfig: it is too long for this cloud, or the agent is not at an https:// address.
    """
    plain = script(name, boot).encode("utf-8", "surrogateescape")
    if len(plain) <= room.size:
        return plain
    packed = gzip.compress(plain, mtime=0)
    if room.takes_gzip and len(packed) <= room.size:
        return packed
    raise BadConfig(
        f"the first boot of {name} is {len(packed if room.takes_gzip else plain):,} bytes long; "
        f"{room.cloud} takes {room.size:,}",
        hint="Shorten the role's setup script: let it fetch what is long, or put that into the image.",
    )


def script(name: str, boot: FirstBoot) -> str:
    """Return the script that makes a server the host `name`.

    Raises:
        BadConfig: the agent is not at an https:// address.
    """
    return "".join(_parts(name, boot))


def _parts(name: str, boot: FirstBoot) -> Iterator[str]:
    yield _HEAD
    yield f"hostnamectl set-hostname {quote(name)} || say 'the host name could not be set'\n"
    if boot.agent_config:
        yield f"config={_packed(boot.agent_config)}\n{_CONFIG}"
    if boot.agent:
        yield f"agent={quote(_address(boot.agent))}\n{_INSTALL}"
    if boot.setup:
        yield f"setup={_packed(boot.setup)}\n{_SETUP}"
    yield f"token={quote(boot.token)}\n{_JOIN}"


def _packed(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _address(agent: str) -> str:
    if not agent.startswith("https://") or not agent.isprintable() or " " in agent:
        raise BadConfig(
            f"agent = {agent!r}: a server in a cloud fetches its agent from an https:// address",
            hint="Put the Debian package where such servers reach it, or leave agent out if the image has it.",
        )
    return agent
