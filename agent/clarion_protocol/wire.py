"""The frames that travel between agents and the controller, and their limits.

Signals (XPUB to SUB): ``[topic, envelope]``; the topic is the environment's name, only
routing, never trusted.

Reports (DEALER to ROUTER), each way ``[kind, body...]``:

=========  =========  =====================================================
direction  kind       body
=========  =========  =====================================================
up         report     one DSSE envelope of a Report
up         ask        an `Ask`: the heads that the agent has
down       state      0 to 16 DSSE envelopes: deployments before their signals
down       ack        an `Ack`: reports up to this sequence are safe here
=========  =========  =====================================================

Joining (DEALER to ROUTER on the join port): join, challenge, proof, then admitted or
refused, with the structs of `clarion_protocol.invite` as bodies.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from clarion_protocol.documents import Count, Head, StreamName
from clarion_protocol.dsse import MAX_ENVELOPE_BYTES

ZAP_DOMAIN = b"clarion"
MAX_FRAME_BYTES = MAX_ENVELOPE_BYTES
MAX_STATE_ENVELOPES = 16
MAX_SMALL_BODY = 64 * 1024
HANDSHAKE_IVL_MS = 5_000
HEARTBEAT_IVL_MS = 15_000
HEARTBEAT_TIMEOUT_MS = 45_000
HEARTBEAT_TTL_MS = 60_000
BEACON_INTERVAL_S = 30.0
POLL_INTERVAL_S = 60.0
HEARTBEAT_REPORT_S = 30.0


class Up(bytes, Enum):
    """What an agent may send."""

    REPORT = b"report"
    ASK = b"ask"


class Down(bytes, Enum):
    """What a controller may answer."""

    STATE = b"state"
    ACK = b"ack"


class Join(bytes, Enum):
    """The words of joining."""

    JOIN = b"join"
    CHALLENGE = b"challenge"
    PROOF = b"proof"
    ADMITTED = b"admitted"
    REFUSED = b"refused"


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent has of each stream, so that it is told only what is newer."""

    heads: dict[StreamName, Head] = {}


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reports up to and including `seq` are recorded; the agent may forget them."""

    seq: Count
