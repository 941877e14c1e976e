"""Room for a number of calls, and who is let in first."""

from __future__ import annotations

import asyncio

import pytest

from daytwo.records import Lane
from services.inference_router.lanes import Lanes, Place
from tests.inference_router.builders import FastClock, StillClock


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def entered(lanes: Lanes, lane: Lane = "interactive") -> Place:
    place = await lanes.enter(lane, 9)
    assert place is not None
    return place


async def test_no_more_are_inside_than_the_limit() -> None:
    lanes = Lanes(2, StillClock())
    tasks = [asyncio.create_task(lanes.enter("batch", 9)) for _ in range(5)]
    await turns()
    assert (lanes.inside, sum(task.done() for task in tasks)) == (2, 2)
    for task in tasks:
        place = await task
        assert place is not None
        place.leave()
        await turns()
    assert (lanes.inside, lanes.starting, lanes.waiting) == (0, 0, 0)


async def test_interactive_is_let_in_before_batch_and_each_lane_in_order() -> None:
    lanes = Lanes(1, StillClock())
    first = await entered(lanes)
    came: list[str] = []

    async def go(name: str, lane: Lane) -> None:
        place = await entered(lanes, lane)
        came.append(name)
        place.leave()

    tasks = [asyncio.create_task(go(name, lane)) for name, lane in (("b1", "batch"), ("i1", "interactive"), ("i2", "interactive"))]  # type: ignore[arg-type]
    await turns()
    first.leave()
    await asyncio.gather(*tasks)
    assert came == ["i1", "i2", "b1"]


async def test_whoever_waits_too_long_goes_away_and_leaves_no_trace() -> None:
    lanes = Lanes(1, FastClock())
    place = await entered(lanes)
    assert not await lanes.enter("interactive", 1)
    place.leave()
    assert (lanes.inside, lanes.starting, lanes.waiting) == (0, 0, 0)
    assert await lanes.enter("batch", 1)


async def test_whoever_is_cancelled_while_let_in_passes_the_place_on() -> None:
    lanes = Lanes(1, StillClock())
    place = await entered(lanes)
    first, second = (asyncio.create_task(lanes.enter("batch", 9)) for _ in range(2))
    await turns()
    place.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second
    assert (lanes.inside, lanes.starting) == (1, 1)


async def test_a_raised_limit_lets_waiting_calls_in() -> None:
    lanes = Lanes(0, StillClock())
    task = asyncio.create_task(lanes.enter("batch", 9))
    await turns()
    lanes.limit = 1
    lanes.let_in()
    assert await task


async def test_no_more_are_on_their_way_than_may_start_and_who_has_left_makes_room_once() -> None:
    lanes = Lanes(100, StillClock(), most_starting=2)
    places = [await entered(lanes) for _ in range(2)]
    waiting = [asyncio.create_task(lanes.enter("batch", 9)) for _ in range(3)]
    await turns()
    assert (lanes.starting, lanes.waiting, lanes.full) == (2, 3, False)

    places[0].on_its_way()
    places[0].on_its_way()
    await turns()

    assert (lanes.inside, lanes.starting, lanes.waiting) == (3, 2, 2)
    places[0].leave()
    assert (lanes.inside, lanes.starting, lanes.waiting) == (2, 2, 2)
    places[1].leave()
    await turns()
    assert (lanes.inside, lanes.starting, lanes.waiting) == (2, 2, 1)
    for task in waiting:
        task.cancel()
