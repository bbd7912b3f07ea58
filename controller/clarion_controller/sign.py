"""Signals and beacons, numbered so that no number is ever used twice in a stream.

A signal's number is the highest of: one more than the last that this controller gave; one
more than any that a host has accepted (hosts tell their heads); the minutes since 1970.

- *Restored from an older backup*, the database has forgotten its last numbers. The clock
  has gone on since, so numbers go on above them, unless a stream had more signals than
  minutes in the forgotten time; then the hosts' own heads say so. Until they do, a host
  refuses the repeated number, and asks.
- *Why minutes*: a host refuses jumps beyond the policy's `max_seq_jump` (1,000,000). Counted
  in minutes, a stream may rest for almost two years; in seconds it would be eleven days.
- *A host that lies* about its head can push a stream at most `MAX_AHEAD` beyond the clock,
  once: a tenth of the jump that every other host still accepts.
"""

from __future__ import annotations

from dataclasses import dataclass

from clarion_controller.state.events import Signalled
from clarion_controller.state.rollout_state import RolloutState
from clarion_protocol.documents import Beacon, Head, Signal, Targets
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import Verb

MAX_AHEAD = 100_000
# Below the policy's max_signal_validity (an hour), with room for clocks that are apart.
SIGNAL_VALIDITY = 3_000


def next_seq(last: int, claimed: int, now: float) -> int:
    """Return the number of a stream's next signal, after `last` here and `claimed` by hosts."""
    minutes = int(now // 60)
    believed = claimed if claimed <= minutes + MAX_AHEAD else 0
    return max(last + 1, believed + 1, minutes)


@dataclass(frozen=True)
class Signer:
    """The controller's two online keys and the cluster that they belong to."""

    cluster: str
    signal_key: SigningKey
    beacon_key: SigningKey

    def signal(self, state: RolloutState, event: Signalled) -> bytes:
        """Return the envelope that carries out `event`, which has its number."""
        deployment = state.deployment
        issued = int(event.at)
        document = Signal(
            cluster=self.cluster,
            environment=deployment.environment,
            stream=deployment.stream,
            seq=event.seq,
            deployment=deployment.id,
            deployment_sha256=state.digest,
            verb=event.verb,
            targets=_targets(state, event),
            issued_at=issued,
            expires=int(event.until) if event.verb is Verb.LEASE else issued + SIGNAL_VALIDITY,
            reason=event.reason[:1000],
        )
        return document.sealed(self.signal_key)

    def beacon(self, environment: str, heads: dict[str, Head], now: float) -> bytes:
        """Return the envelope that tells an environment the time and the heads of its streams."""
        document = Beacon(cluster=self.cluster, environment=environment, time=int(now), heads=heads)
        return document.sealed(self.beacon_key)


def _targets(state: RolloutState, event: Signalled) -> Targets:
    """Name hosts one by one, unless all of the environment are meant anyway; never in a lease."""
    everybody = state.deployment.targets.all and len(event.hosts) == len(state.hosts)
    return Targets(all=True) if everybody and event.verb is not Verb.LEASE else Targets(hosts=list(event.hosts))
