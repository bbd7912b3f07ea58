"""Couriers: real threads and a real outbox, and senders that fail, hang and lie."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clarion_controller.notice import Undelivered
from clarion_controller.notifying.deliver import Courier
from clarion_controller.notifying.outbox import Changes, Outbox, Outgoing, Pending, Standing
from clarion_controller.notifying.overview import _standing
from clarion_controller.notifying.patience import Patience
from clarion_protocol.errors import BadConfig

CHAT, MAIL = "notify:chat", "notify:mail"
HASTE = Patience(answer=0.2, first_pause=0.01, longest_pause=0.05, longest_asked=0.1, hung=2)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Return an empty outbox."""
    (tmp_path / "state").mkdir()
    with closing(Outbox(tmp_path)) as made:
        yield made


@pytest.fixture
def employ(outbox: Outbox) -> Iterator[Callable[..., Courier]]:
    """Return what begins a courier that is stopped at the end."""
    couriers: list[Courier] = []

    def begin(send: Callable[[Pending], str], destination: str = CHAT, stuck: list[str] | None = None) -> Courier:
        on_stuck = stuck.append if stuck is not None else pytest.fail
        courier = Courier(destination, outbox, send, on_stuck, HASTE)
        couriers.append(courier)
        courier.start()
        return courier

    yield begin
    for courier in couriers:
        courier.stop()
        courier.join(5)


def put(outbox: Outbox, *subjects: str, destination: str = CHAT) -> None:
    """Have things wait."""
    now = time.time()
    waiting = [Outgoing(destination, subject, b"{}", now) for subject in subjects]
    outbox.advance(Changes(Standing(1, b"{}", b"{}"), waiting))


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until it holds, at most ten seconds."""
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def into(sent: list[str]) -> Callable[[Pending], str]:
    """Return a sender that keeps what it sends."""

    def send(pending: Pending) -> str:
        sent.append(pending.subject)
        return ""

    return send


def is_empty(outbox: Outbox, destination: str = CHAT) -> bool:
    """Return whether nothing waits."""
    return outbox.first(destination) is None


def last_error(outbox: Outbox) -> str:
    """Return what people are shown as the channel's trouble."""
    with outbox._engine.connect() as connection:
        return _standing(connection, CHAT, "slack").last_error


def test_what_comes_in_goes_out_in_order(outbox: Outbox, employ: Callable[..., Courier]) -> None:
    """What waited at the start, and what came later with a ring."""
    sent: list[str] = []
    put(outbox, "one", "two")
    courier = employ(into(sent))
    wait_for(lambda: is_empty(outbox))
    put(outbox, "three")
    courier.ring()
    wait_for(lambda: is_empty(outbox))
    assert sent == ["one", "two", "three"]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Undelivered("500 Internal Server Error"), id="an error"),
        pytest.param(Undelivered("429", retry_after=0.05), id="a plea for patience"),
        pytest.param(BadConfig("the secret file:slack is empty"), id="a secret that is not there yet"),
        pytest.param(ValueError("a fault of our own"), id="a fault of our own"),
    ],
)
def test_what_did_not_arrive_is_tried_again_before_what_comes_after_it(
    outbox: Outbox, employ: Callable[..., Courier], trouble: Exception
) -> None:
    """In order, until it arrives; meanwhile the trouble can be seen, after that it cannot."""
    tried: list[str] = []
    may_arrive = threading.Event()

    def send(pending: Pending) -> str:
        tried.append(pending.subject)
        if not may_arrive.is_set():
            raise trouble
        return ""

    put(outbox, "one", "two")
    employ(send)
    wait_for(lambda: len(tried) >= 3)
    assert last_error(outbox)
    may_arrive.set()
    wait_for(lambda: is_empty(outbox))
    assert tried == [*["one"] * (len(tried) - 1), "two"]
    assert last_error(outbox) == ""


def test_what_is_refused_for_good_does_not_stand_in_the_way(outbox: Outbox, employ: Callable[..., Courier]) -> None:
    """It is given up, and the next goes out."""
    sent: list[str] = []

    def send(pending: Pending) -> str:
        if pending.subject == "bad":
            raise Undelivered("400 invalid_payload", is_final=True)
        sent.append(pending.subject)
        return ""

    put(outbox, "bad", "good")
    employ(send)
    wait_for(lambda: is_empty(outbox))
    assert sent == ["good"]


def test_a_sender_that_hangs_holds_up_nobody_else_and_is_left_behind(
    outbox: Outbox, employ: Callable[..., Courier]
) -> None:
    """Another channel delivers meanwhile; the one that hung is tried anew in a fresh thread."""
    go_on, threads, sent = threading.Event(), list[threading.Thread](), list[str]()

    def hang(pending: Pending) -> str:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            go_on.wait(10)
        return ""

    put(outbox, "one")
    put(outbox, "one", destination=MAIL)
    employ(hang)
    employ(into(sent), MAIL)
    wait_for(lambda: is_empty(outbox, MAIL))
    wait_for(lambda: is_empty(outbox))
    assert threads[0].is_alive()
    assert threads[1] is not threads[0]
    go_on.set()


def test_when_too_many_hang_the_process_is_asked_to_begin_anew(outbox: Outbox, employ: Callable[..., Courier]) -> None:
    """Nothing else ends a thread."""
    go_on, stuck = threading.Event(), list[str]()
    put(outbox, "one")
    employ(lambda _: str(go_on.wait(10)), stuck=stuck)
    wait_for(lambda: stuck[:1] == [CHAT])
    go_on.set()


class FullDisk(Outbox):
    """An outbox that does not take the first few records of what was sent."""

    refusals = 3

    def sent(self, pending: Pending, said: str, now: float) -> None:
        """Record it, or not."""
        self.refusals -= 1
        if self.refusals >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().sent(pending, said, now)


def test_what_was_sent_is_not_sent_again_because_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was sent is recorded as soon as that is possible."""
    monkeypatch.setattr("clarion_controller.notifying.deliver.DISK_PAUSE_S", 0.01)
    (tmp_path / "state").mkdir()
    sent: list[str] = []
    with closing(FullDisk(tmp_path)) as outbox:
        put(outbox, "one")
        courier = Courier(CHAT, outbox, into(sent), pytest.fail, HASTE)
        courier.start()
        wait_for(lambda: is_empty(outbox))
        courier.stop()
        courier.join(5)
    assert sent == ["one"]
    assert outbox.refusals < 0
