"""Signals on their way out: numbered, recorded by the caller, then signed and handed to the gateway.

What was broadcast is kept while it is valid, so that a host that asks gets the very same
bytes and a thousand hosts that missed one signal cost one signature.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import structlog
from msgspec.structs import replace

from clarion_controller.catch_up import Errand, companions
from clarion_controller.sign import SIGNAL_VALIDITY, Signer
from clarion_controller.state.events import AnyEvent, Signalled, StatusChanged
from clarion_controller.streams import Sent, Streams, Walk
from clarion_protocol.wire import BEACON_INTERVAL_S, Down

_log = structlog.get_logger(__name__)


class Broadcaster(Protocol):
    """What rollouts ask of the gateway."""

    def broadcast(self, topic: str, envelope: bytes) -> None:
        """Send a signed envelope to every agent of an environment."""

    def send(self, host: str, kind: Down, *bodies: bytes) -> None:
        """Send to one host if it is connected."""


class Broadcast:
    """Signs what was decided and recorded, and sends it."""

    def __init__(self, signer: Signer, streams: Streams, gateway: Broadcaster) -> None:
        self._signer = signer
        self._streams = streams
        self._gateway = gateway
        self._beaconed = 0.0

    def numbered(self, walk: Walk, actions: Iterable[AnyEvent], now: float) -> list[AnyEvent]:
        """Return the actions with a fresh number in each signal, ready to be recorded."""
        stream = walk.state.deployment.stream
        return [
            replace(action, seq=self._streams.number_signal(stream, now)) if isinstance(action, Signalled) else action
            for action in actions
        ]

    def again(self, walk: Walk, wanted: Errand, now: float) -> list[AnyEvent]:
        """Return a fresh signal to all hosts that have not followed the one they were told, ready to be recorded."""
        verb, until = wanted
        hosts = companions(walk.state, wanted, now)
        return self.numbered(walk, [Signalled(at=now, verb=verb, hosts=hosts, until=until)], now)

    def carry_out(self, walk: Walk, actions: Iterable[AnyEvent]) -> None:
        """Sign and send the signals among recorded actions."""
        for action in actions:
            if isinstance(action, Signalled):
                sent = self._sign(walk, action)
                self._streams.show(walk.state.deployment.stream, sent.seq)
                self._gateway.broadcast(walk.state.deployment.environment, sent.envelope)
            elif isinstance(action, StatusChanged):
                document, status = walk.state.deployment, action.status.value
                _log.info("deployment.status", id=document.id, app=document.app, status=status, reason=action.reason)

    def beacon(self, environments: Iterable[str], now: float) -> None:
        """Send every environment its beacon, if it is time."""
        if now - self._beaconed < BEACON_INTERVAL_S:
            return
        self._beaconed = now
        for environment in environments:
            heads = self._streams.heads(environment)
            self._gateway.broadcast(environment, self._signer.beacon(environment, heads, now))

    def _sign(self, walk: Walk, action: Signalled) -> Sent:
        envelope = self._signer.signal(walk.state, action)
        until = action.until or action.at + SIGNAL_VALIDITY
        sent = Sent(action.verb, envelope, action.seq, frozenset(action.hosts), action.at, until)
        walk.sent = {errand: each for errand, each in walk.sent.items() if each.until > action.at}
        walk.sent[(action.verb, action.until)] = sent
        return sent
