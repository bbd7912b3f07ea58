"""What an address says about whom it asks: its origin, which is scheme, host and port (RFC 6454)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
# Narrow, so that no second parser can read another host out of the same address.
_NAME = re.compile(r"[a-z0-9._-]{1,253}")


def origin_of(url: str) -> str:
    """Return the origin of an address, spelled in one way only: ``https://host`` or ``http://host:9000``.

    Raises:
        ValueError: it is no address of a web server, or holds a name or a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise ValueError("an address here holds no name and no password")
    host, port = _host(parts.hostname), _port(parts)
    return f"{parts.scheme}://{host}" + ("" if port == _PORTS[parts.scheme] else f":{port}")


def _host(name: str) -> str:
    # urlsplit lets anything stand between brackets before Python 3.11.4.
    if ":" in name and "%" not in name:
        return f"[{IPv6Address(name)}]"
    if not _NAME.fullmatch(name):
        raise ValueError("no server has such a name")
    return name


def _port(parts: SplitResult) -> int:
    # Also an empty port ("host:") is the scheme's; port 0 is nobody's.
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    if port == 0:
        raise ValueError("no server listens at port 0")
    return port
