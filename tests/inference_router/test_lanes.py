"""Room for a number of calls, and who is let in first."""

from __future__ import annotations

import asyncio

import pytest

from daytwo.records import Lane
from services.inference_router.lanes import Lanes
from tests.inference_router.builders import FastClock, StillClock


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_no_more_are_inside_than_the_limit() -> None:
    lanes = Lanes(2, StillClock())
    tasks = [asyncio.create_task(lanes.enter("batch", 9)) for _ in range(5)]
    await turns()
    assert (lanes.inside, sum(task.done() for task in tasks)) == (2, 2)
    for _ in range(5):
        lanes.leave()
        await turns()
    assert all([await task for task in tasks])
    assert lanes.inside == 0


async def test_interactive_is_let_in_before_batch_and_each_lane_in_order() -> None:
    lanes = Lanes(1, StillClock())
    await lanes.enter("batch", 9)
    came: list[str] = []

    async def go(name: str, lane: Lane) -> None:
        await lanes.enter(lane, 9)
        came.append(name)
        lanes.leave()

    tasks = [asyncio.create_task(go(name, lane)) for name, lane in (("b1", "batch"), ("i1", "interactive"), ("i2", "interactive"))]  # type: ignore[arg-type]
    await turns()
    lanes.leave()
    await asyncio.gather(*tasks)
    assert came == ["i1", "i2", "b1"]


async def test_whoever_waits_too_long_goes_away_and_leaves_no_trace() -> None:
    lanes = Lanes(1, FastClock())
    assert await lanes.enter("interactive", 1)
    assert not await lanes.enter("interactive", 1)
    lanes.leave()
    assert lanes.inside == 0
    assert await lanes.enter("batch", 1)


async def test_whoever_is_cancelled_while_let_in_passes_the_place_on() -> None:
    lanes = Lanes(1, StillClock())
    await lanes.enter("batch", 9)
    first, second = (asyncio.create_task(lanes.enter("batch", 9)) for _ in range(2))
    await turns()
    lanes.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second
    assert lanes.inside == 1


async def test_a_raised_limit_lets_waiting_calls_in() -> None:
    lanes = Lanes(0, StillClock())
    task = asyncio.create_task(lanes.enter("batch", 9))
    await turns()
    lanes.limit = 1
    lanes.let_in()
    assert await task
