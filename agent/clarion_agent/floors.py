"""What this host must never forget: the newest messages it accepted, and how late it is at least.

Two copies are written in turn, each with a generation and the SHA-256 of its content, so a
crash while one is written leaves the other. The newest valid one counts. If neither is
valid, this host cannot tell a new order from a replayed one, and refuses every change.

A signal's floor and what it ordered are one record: a floor without its order would mean
an order that is lost, since the controller does not repeat what a host says it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_agent import durable
from clarion_protocol import strict_json
from clarion_protocol.documents import Count, Head, Sentence, Sha256, StreamName, Time
from clarion_protocol.dsse import digest
from clarion_protocol.errors import BadEnvelope, TrustStateLost
from clarion_protocol.trust import Floor

COPIES = ("floors-a.json", "floors-b.json")
MAX_BYTES = 4 * 2**20


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the signals of a deployment have told this host so far; `lease_until` is in UTC s, 0 without a lease."""

    stage: bool = False
    lease_until: Time = 0
    abort: bool = False
    rollback: bool = False
    reason: Sentence = ""


class StreamFloors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The floors of one stream, and the orders inside its newest deployment."""

    deployment: Floor = Floor()
    signal: Floor = Floor()
    orders: Orders = Orders()

    def after(self, accepted: Floor) -> StreamFloors:
        """Return these floors once a new deployment is accepted: nothing has been ordered inside it yet."""
        return StreamFloors(accepted, self.signal)

    @property
    def head(self) -> Head:
        """The sequence numbers, as an agent tells them."""
        return Head(self.deployment.seq, self.signal.seq)


class Floors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that is remembered; `clock` (UTC s) is the latest time that a signed message has proved."""

    generation: Count = 0
    clock: Time = 0
    streams: dict[StreamName, StreamFloors] = {}

    def of(self, stream: str) -> StreamFloors:
        """Return the floors of `stream`, which are zero before its first message."""
        return self.streams.get(stream, StreamFloors())

    def with_stream(self, stream: str, floors: StreamFloors) -> Floors:
        """Return these floors with those of one stream replaced."""
        return msgspec.structs.replace(self, streams={**self.streams, stream: floors})

    def with_clock(self, time: int) -> Floors:
        """Return these floors with a clock that is at least `time`."""
        return msgspec.structs.replace(self, clock=max(self.clock, time))


class _Copy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: the floors and the digest of their canonical spelling."""

    floors: Floors
    sha256: Sha256


@dataclass(frozen=True)
class FloorFiles:
    """The two files in the folder `trust`."""

    folder: Path

    def begin(self) -> None:
        """Write the first floors of a host that joins; valid ones of an earlier life stay."""
        durable.make_folder(self.folder, mode=0o700)
        if not any(self._read_copy(name) for name in COPIES):
            self.write(Floors())
            self.write(Floors())

    def read(self) -> Floors:
        """Return what was written last.

        Raises:
            TrustStateLost: neither copy is valid.
        """
        copies = [copy for name in COPIES if (copy := self._read_copy(name)) is not None]
        if not copies:
            raise TrustStateLost(
                f"both copies of what this host has accepted ({', '.join(COPIES)} in {self.folder}) are damaged",
                hint="Nothing is changed any more. Let the host join anew: 'clarion hosts invite', then "
                "'clarion-agent join TOKEN'.",
            )
        return max(copies, key=lambda floors: floors.generation)

    def write(self, floors: Floors) -> Floors:
        """Write `floors` over the older copy and return them with their new generation."""
        found = {name: self._read_copy(name) for name in COPIES}
        newest = max((copy.generation for copy in found.values() if copy), default=0)
        # Over an invalid copy first, else over the older one: never over the only good one.
        name = min(COPIES, key=lambda each: -1 if (copy := found[each]) is None else copy.generation)
        written = msgspec.structs.replace(floors, generation=newest + 1)
        raw = strict_json.dumps(_Copy(written, digest(strict_json.dumps(written))))
        _parse(raw)  # what could not be read again would be a floor that is forgotten
        durable.write_atomic(self.folder / name, raw)
        return written

    def _read_copy(self, name: str) -> Floors | None:
        try:
            return _parse((self.folder / name).read_bytes())
        except (OSError, BadEnvelope):
            return None


def _parse(raw: bytes) -> Floors:
    copy = strict_json.decode(raw, _Copy, max_bytes=MAX_BYTES)
    if digest(strict_json.dumps(copy.floors)) != copy.sha256:
        raise BadEnvelope("floors that differ from their hash")
    return copy.floors
