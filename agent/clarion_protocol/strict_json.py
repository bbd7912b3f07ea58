"""JSON in one spelling only.

Python's own reader accepts duplicate keys, NaN, numbers of 5,000 digits and lone
surrogates; two readers that disagree about one message are how signatures get bypassed.
So a document is accepted only if writing it again gives the very same bytes: keys
sorted, no white space, no key twice, nothing after the value, no field that the closed
schema does not know. That rule is shorter than a list of what is forbidden, complete,
and costs microseconds because both directions run in C.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from clarion_protocol.errors import BadEnvelope, ClarionError

T = TypeVar("T")


def decode(raw: bytes, kind: type[T], *, max_bytes: int, error: type[ClarionError] = BadEnvelope) -> T:
    """Return `raw` as a `kind`: a Struct with `forbid_unknown_fields`, or a container of such.

    Raises:
        ClarionError: as the class `error`: too long, not JSON, not of the schema, or spelled otherwise than
            `dumps` spells it.
    """
    if len(raw) > max_bytes:
        raise error(f"{len(raw)} bytes of JSON where at most {max_bytes} are allowed")
    try:
        value = msgspec.json.decode(raw, type=kind, strict=True)
        spelled = dumps(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise error(f"not a valid {_name(kind)}: {problem}") from problem
    if spelled != raw:
        raise error(f"a {_name(kind)} that is not in canonical form (sorted keys, no white space, nothing twice)")
    return value


def dumps(value: Any) -> bytes:
    """Return `value` (plain data or a Struct) in the one spelling that `decode` accepts."""
    return msgspec.json.encode(value, order="sorted")


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
