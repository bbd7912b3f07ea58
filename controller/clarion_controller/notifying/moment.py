"""For how long what happens is gathered before it is told, in seconds."""

from __future__ import annotations

from clarion_protocol.wire import HEARTBEAT_REPORT_S

# Hosts speak that often: what one broken switch does to many is noticed within it.
MOMENT = HEARTBEAT_REPORT_S
# Most of what is halted before any host has switched is over at once: one notice says it all.
BREATH = 2.0
