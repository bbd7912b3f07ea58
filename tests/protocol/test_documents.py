"""Documents are closed, bounded and the same on both sides."""

from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol import strict_json
from clarion_protocol.documents import (
    MAX_LOG_TAIL,
    Beacon,
    Deployment,
    Document,
    Facts,
    Head,
    Plan,
    Progress,
    Report,
    Running,
    Signal,
    Targets,
    digest_of,
    kind_of,
    read,
)
from clarion_protocol.dsse import MAX_ENVELOPE_BYTES
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import HostStatus, Stage, is_name, is_version

KINDS = [Deployment, Signal, Beacon, Report]
REPORT = Report(cluster="c" * 32, host="a" * 32, seq=1, at=2)


def with_progress(**changes: object) -> bytes:
    progress = {"deployment": "d" * 32, "stream": "p/s", "status": "staged", "stage": None}
    raw = msgspec.json.decode(strict_json.dumps(REPORT))
    return strict_json.dumps({**raw, "progress": {"error": "", "log": "", "reason": "", **progress, **changes}})


@pytest.mark.parametrize("kind", KINDS)
def test_each_payload_type_belongs_to_one_kind(kind: type[Document]) -> None:
    """The type names its version, and leads back to its class."""
    assert kind_of(kind.payload_type) is kind
    assert kind.payload_type == f"application/vnd.clarion.{kind.__name__.lower()}.v1+json"


@pytest.mark.parametrize("payload_type", ["", "application/json", Deployment.payload_type + " ", "x" * 10_000])
def test_an_unknown_payload_type_is_refused(payload_type: str) -> None:
    """And quoted only as far as a log line bears."""
    with pytest.raises(BadEnvelope) as caught:
        kind_of(payload_type)
    assert len(caught.value.message) < 200


def structs_of(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """Return `kind` and every struct inside it."""
    found: set[type[msgspec.Struct]] = set()
    waiting: list[object] = [kind]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each not in found:
            found.add(each)
            waiting.extend(typing.get_type_hints(each).values())
        waiting.extend(typing.get_args(each))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_struct_on_the_wire_is_closed_and_immutable(kind: type[msgspec.Struct]) -> None:
    """No part of a document takes a field that its schema does not know."""
    for struct in structs_of(kind):
        assert struct.__struct_config__.forbid_unknown_fields, struct
        assert struct.__struct_config__.frozen, struct


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(with_progress(log="x" * (MAX_LOG_TAIL + 1)), id="a log that is too long"),
        pytest.param(with_progress(reason="x" * 1001), id="a reason that is too long"),
        pytest.param(with_progress(status="fine"), id="a status that nobody knows"),
        pytest.param(with_progress(stage="bake "), id="a stage with a space"),
        pytest.param(with_progress(stream="../../etc/passwd"), id="a path as a stream"),
        pytest.param(with_progress(deployment="latest"), id="a word as an id"),
        pytest.param(with_progress(stream="p/s\n"), id="a newline at the end of a name"),
    ],
)
def test_what_a_host_says_is_bounded(raw: bytes) -> None:
    """A hostile host fits its words into the schema or is not heard."""
    with pytest.raises(BadEnvelope):
        read(raw, Report)


def test_the_honest_report_is_read() -> None:
    """The report that the hostile ones were made from."""
    progress = read(with_progress(), Report).progress
    assert progress is not None
    assert progress.status is HostStatus.STAGED


def test_the_largest_honest_report_fits_its_envelope() -> None:
    """A full log, hundreds of apps and streams stay below the frame's limit."""
    progress = Progress(
        deployment="d" * 32,
        stream="production/shop",
        status=HostStatus.FAILED,
        stage=Stage.TEST,
        reason="r" * 1000,
        error="e" * 100,
        log="\x01" * MAX_LOG_TAIL,
    )
    running = [Running(f"app-{n:059d}", "1" * 64, 2**62, "a" * 64, is_active=True) for n in range(100)]
    heads = {f"production/app-{n:059d}": Head(2**62, 2**62) for n in range(100)}
    report = Report(
        cluster="c" * 32,
        host="a" * 32,
        seq=2**62,
        at=2**33,
        facts=Facts(),
        running=running,
        heads=heads,
        progress=progress,
    )
    assert len(report.sealed(SigningKey.generate())) < MAX_ENVELOPE_BYTES


def test_a_deployment_to_five_thousand_hosts_fits_its_envelope() -> None:
    """Naming every host of the largest fleet still is one message."""
    deployment = Deployment(
        id="d" * 32,
        cluster="c" * 32,
        environment="production",
        stream="production/shop",
        epoch=1,
        seq=1,
        app="shop",
        version="1",
        release=1,
        path="shop/shop-1.tar.zst",
        length=1,
        sha256="e" * 64,
        targets=Targets(hosts=[f"{n:032x}" for n in range(5000)]),
        plan=Plan(),
        issued_at=0,
        not_before=0,
        expires=1,
    )
    assert len(deployment.sealed(SigningKey.generate(), SigningKey.generate())) < MAX_ENVELOPE_BYTES


def test_the_digest_is_of_the_canonical_bytes() -> None:
    """References compare what was signed, and every field is in it."""
    assert digest_of(REPORT) == digest_of(read(strict_json.dumps(REPORT), Report))
    assert digest_of(REPORT) != digest_of(msgspec.structs.replace(REPORT, at=3))


@given(st.text(max_size=70))
def test_names_are_safe_wherever_they_are_used(text: str) -> None:
    """What passes as a name or version is plain ASCII, no path, no option, no markup."""
    if is_name(text) or is_version(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set("/\\ <>&'\"%$;:*?\n\t\0")
        assert text[0] not in ".-_+"
        assert len(text) <= 64


@pytest.mark.parametrize("text", ["", ".", "..", "-rf", "a/b", "a\n", "é", "A" * 64, "a" * 64, "shop "])
def test_no_name(text: str) -> None:
    """The usual suspects."""
    assert not is_name(text)
