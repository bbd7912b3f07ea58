"""One server as its cloud, or a list, describes it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Discovered(msgspec.Struct, frozen=True, kw_only=True):
    """A server that there should be.

    `instance` is its cloud's own number for it ("aws:i-0abc1234", see `clarion_protocol.words.INSTANCE`), empty for
    one that is listed by name; `name` is what people call it and need not be unique; `source` says who told us
    ("aws", "static"); `groups` are scaling groups or inventory groups; `state` is in the source's own words.
    """

    name: str
    source: str
    instance: str = ""
    zone: str = ""
    state: str = ""
    groups: tuple[str, ...] = ()
    tags: Mapping[str, str] = {}
    addresses: tuple[str, ...] = ()
