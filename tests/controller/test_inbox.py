"""What agents sent reaches the loop in order, in batches that share a turn, and never keeps the loop to itself."""

from __future__ import annotations

import asyncio
import threading
import time

from clarion_controller.gateway.gateway import Inbound
from clarion_controller.inbox import LONGEST_REST, MAX_BATCH, Inbox
from clarion_protocol.wire import Up

PATIENCE = 5.0


def said(count: int) -> list[Inbound]:
    """Return so many messages that can be told apart."""
    return [Inbound("a" * 32, Up.REPORT, b"%d" % number) for number in range(count)]


def test_a_message_wakes_whoever_waits_for_it() -> None:
    """What another thread delivers while the loop sleeps is taken long before its patience ends."""

    async def taken() -> list[Inbound]:
        inbox = Inbox()
        threading.Timer(0.05, inbox.deliver, [said(1)]).start()
        return await inbox.take(PATIENCE)

    began = time.monotonic()
    assert asyncio.run(taken()) == said(1)
    assert time.monotonic() - began < PATIENCE / 2


def test_nothing_comes_of_silence() -> None:
    """Who waits in vain gets an empty batch when its patience ends, and hears what comes after that."""

    async def taken() -> list[list[Inbound]]:
        inbox = Inbox()
        empty = await inbox.take(0.01)
        inbox.deliver(said(1))
        return [empty, await inbox.take(PATIENCE)]

    assert asyncio.run(taken()) == [[], said(1)]


def test_a_flood_is_taken_in_order_and_in_full_batches() -> None:
    """More than one batch waits: each is as large as may be, in the order in which it came, and none is lost."""

    async def taken() -> list[list[Inbound]]:
        inbox = Inbox()
        inbox.deliver(said(2 * MAX_BATCH + 1))
        return [await inbox.take(PATIENCE) for _ in range(3)]

    batches = asyncio.run(taken())
    assert [len(batch) for batch in batches] == [MAX_BATCH, MAX_BATCH, 1]
    assert [inbound for batch in batches for inbound in batch] == said(2 * MAX_BATCH + 1)


def test_what_arrives_after_a_turn_shares_the_next() -> None:
    """After a turn that took its time, messages that come one by one a little later are one batch."""

    async def taken() -> list[Inbound]:
        inbox, loop = Inbox(), asyncio.get_running_loop()
        first, *rest = said(5)
        inbox.deliver([first])
        await inbox.take(PATIENCE)
        await asyncio.sleep(LONGEST_REST)  # the turn
        for number, each in enumerate(rest, 1):
            loop.call_later(LONGEST_REST * number / 10, inbox.deliver, [each])
        return await inbox.take(PATIENCE)

    assert asyncio.run(taken()) == said(5)[1:]


def test_others_get_the_loop_while_a_flood_waits() -> None:
    """Between two batches of a flood, whatever else waits for the loop has its turn."""

    async def taken() -> bool:
        inbox, had_its_turn = Inbox(), asyncio.Event()
        inbox.deliver(said(3 * MAX_BATCH))
        asyncio.get_running_loop().call_soon(had_its_turn.set)
        await inbox.take(PATIENCE)
        return had_its_turn.is_set()

    assert asyncio.run(taken())


def test_every_message_of_many_threads_is_taken() -> None:
    """No ring of the bell is missed, whenever threads deliver: not one message stays behind."""

    async def taken() -> int:
        inbox, count = Inbox(), 0

        def deliver() -> None:
            for each in said(2_000):
                inbox.deliver([each])

        for _ in range(4):
            threading.Thread(target=deliver).start()
        while count < 8_000 and (batch := await inbox.take(PATIENCE)):
            count += len(batch)
        return count

    assert asyncio.run(taken()) == 8_000
