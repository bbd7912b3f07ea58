"""What an event means beside itself: which deployment it belongs to, and what that one's hosts are called."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from clarion_protocol.documents import Deployment


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event belongs; `id` is its deployment's ("" if none), `names` maps that one's hosts to their names."""

    id: str = ""
    deployment: Deployment | None = None
    names: Mapping[str, str] = {}

    def name_of(self, host: str) -> str:
        """Return what people call a host of this deployment."""
        return self.names.get(host) or host[:8]
