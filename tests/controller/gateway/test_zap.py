"""The doorkeeper answers every request, and only a known key gets a yes."""

from __future__ import annotations

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.gateway.zap import ENDPOINT, Doorkeeper, everybody, judge

KEY = bytes(range(32))
GOOD = [b"1.0", b"7", b"clarion", b"192.0.2.1", b"", b"CURVE", KEY]
DOORS = {b"clarion": lambda key: key == KEY.hex(), b"clarion-join": everybody}


def changed(position: int, frame: bytes) -> list[bytes]:
    return [*GOOD[:position], frame, *GOOD[position + 1 :]]


def test_a_known_key_is_admitted_and_becomes_the_user_id() -> None:
    """The User-Id is the key in hex: what every later message is judged by."""
    assert judge(GOOD, DOORS) == (b"200", KEY.hex().encode())


def test_the_join_door_admits_any_curve_key_but_nothing_else() -> None:
    """Newcomers are let in to join, still only encrypted and with a key of their own."""
    assert judge([*changed(2, b"clarion-join")[:6], b"\x42" * 32], DOORS)[0] == b"200"
    assert judge([*changed(2, b"clarion-join")[:5], b"NULL"], DOORS)[0] == b"400"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(changed(6, b"\x42" * 32), id="an unknown key"),
        pytest.param(changed(6, KEY[:31]), id="a key that is too short"),
        pytest.param(changed(6, KEY + b"\0"), id="a key that is too long"),
        pytest.param(changed(5, b"PLAIN"), id="a password instead of a key"),
        pytest.param(changed(5, b"curve"), id="a mechanism in small letters"),
        pytest.param([*GOOD[:5], b"NULL"], id="no credentials at all"),
        pytest.param([*GOOD, b"more"], id="a frame too many"),
        pytest.param(changed(2, b""), id="no domain"),
        pytest.param(changed(2, b"clarion-other"), id="a domain that has no door"),
        pytest.param(changed(0, b"2.0"), id="another version of the protocol"),
        pytest.param([], id="nothing"),
    ],
)
def test_everybody_else_is_refused(request_: list[bytes]) -> None:
    """A refusal is final (400) and gives no User-Id."""
    assert judge(request_, DOORS) == (b"400", b"")


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_no_request_is_admitted_by_chance_or_raises(request_: list[bytes]) -> None:
    """Whatever the frames are, there is an answer, and it is no."""
    assert judge(request_, DOORS)[0] == b"400"


def test_knocking_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand refusals within a moment are a line or two, and name the last one's address."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    doorkeeper = Doorkeeper(context, {})
    doorkeeper.start()
    with context.socket(zmq.REQ) as asker:
        asker.connect(ENDPOINT)
        asker.rcvtimeo = 5000
        for _ in range(1000):
            asker.send_multipart(GOOD)
            assert asker.recv_multipart()[2] == b"400"
    context.term()
    doorkeeper.join()
    lines = capsys.readouterr().out.splitlines()
    assert 1 <= sum("door.refused" in line for line in lines) <= 5
    assert "192.0.2.1" in lines[0]


@pytest.mark.parametrize(
    "request_", [[b""], [b"1.0"], GOOD[:3], [b"\xff"] * 12, GOOD], ids=["empty", "short", "cut", "long", "good"]
)
def test_the_service_answers_again_after_any_request(request_: list[bytes]) -> None:
    """Malformed requests and rules that raise leave the service in place."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    calls: list[str] = []

    def rule(key: str) -> bool:
        calls.append(key)
        if len(calls) == 1:
            raise RuntimeError("the first question finds the rule unwell")
        return True

    doorkeeper = Doorkeeper(context, {b"clarion": rule})
    doorkeeper.start()
    with context.socket(zmq.REQ) as asker:
        asker.connect(ENDPOINT)
        asker.rcvtimeo = 5000
        statuses = []
        for each in (request_, GOOD, GOOD):
            asker.send_multipart(each)
            statuses.append(asker.recv_multipart()[2])
    context.term()
    doorkeeper.join()
    assert statuses[-1] == b"200"
    assert statuses.count(b"300") == 1
