"""Who buys knows of every opening of the ledger within a second of its announcement, or waits."""

from __future__ import annotations

import asyncio

import pytest

from daytwo.broker import outgoing
from daytwo.clock import SystemClock
from daytwo.memory import MemoryBroker
from daytwo.openings import FRESH_S, LANDS_S, LOOK_S, Openings
from daytwo.records import LedgerOpened


def opening(number: int, by: str = "a", *read_to: int) -> LedgerOpened:
    return LedgerOpened(ledger="main", number=number, by=by, announced_at_ms=0, read_to=read_to)


async def test_the_latest_number_is_known_before_an_opening_may_read_for_the_last_time() -> None:
    broker = MemoryBroker(SystemClock())
    openings = Openings(broker.reader(), SystemClock())
    await openings.start()
    assert await openings.latest() == 0
    await broker.sender().send([outgoing(opening(3))])

    await asyncio.sleep(LOOK_S * 2)

    assert await openings.latest() == 3
    await openings.stop()


async def test_while_the_log_does_not_answer_nobody_is_told_what_was_the_latest() -> None:
    broker = MemoryBroker(SystemClock())
    openings = Openings(broker.reader(), SystemClock())
    await openings.start()
    await openings.latest()
    broker.down = True
    await asyncio.sleep(FRESH_S + LOOK_S)
    asked = asyncio.create_task(openings.latest())

    await asyncio.sleep(LOOK_S * 2)
    assert not asked.done()
    broker.down = False
    await broker.sender().send([outgoing(opening(4))])

    assert await asyncio.wait_for(asked, 5) == 4
    await openings.stop()


def test_an_opening_waits_longer_than_anybody_may_know_no_better() -> None:
    assert LANDS_S > FRESH_S * 1.1


@pytest.mark.parametrize(("number", "offset", "void"), [(1, 9, False), (1, 10, True), (2, 10, False), (2, 99, False), (0, 99, False)])
def test_a_grant_is_void_behind_what_a_later_opening_has_read(number: int, offset: int, void: bool) -> None:
    openings = Openings(MemoryBroker(SystemClock()).reader(), SystemClock())
    for each in (opening(1, "a", 5), opening(2, "b"), opening(2, "other", 1), opening(2, "b", 10)):
        openings.take(each)

    assert openings.is_void(number, 0, offset) == void
