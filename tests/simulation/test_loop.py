"""What a simulated process can suffer. In a child process each: a dead task is never tidied up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.simulation.batches import in_children
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.run import GRAVEYARD


def in_a_child(work: Callable[[int], list[str]]) -> list[str]:
    (seen,) = in_children(work, [0], cores=1)
    return seen


def _process() -> tuple[SimulatedLoop, Process, list[str]]:
    loop = SimulatedLoop()
    process = Process("p", loop)
    GRAVEYARD.append((loop, process))
    return loop, process, []


async def _steps(seen: list[str]) -> None:
    try:
        for number in range(5):
            seen.append(f"{asyncio.get_running_loop().time():g}: {number}")
            await asyncio.sleep(1)
    finally:
        seen.append("finally")


def killed_after_two(_: int) -> list[str]:
    loop, process, seen = _process()
    process.dies_at = 5  # each sleep is two handles: the timer, and the task that goes on
    process.spawn(_steps(seen))
    loop.run_until_complete(asyncio.sleep(20))
    return seen


def held_for_ten(_: int) -> list[str]:
    loop, process, seen = _process()
    process.spawn(_steps(seen))
    loop.call_later(1.5, process.pause)
    loop.call_later(11.5, process.go_on)
    loop.run_until_complete(asyncio.sleep(20))
    return seen


def test_a_killed_process_does_nothing_more_and_no_finally_runs() -> None:
    assert in_a_child(killed_after_two) == ["0: 0", "1: 1"]


def test_a_process_that_stood_still_goes_on_late() -> None:
    assert in_a_child(held_for_ten) == ["0: 0", "1: 1", "11.5: 2", "12.5: 3", "13.5: 4", "finally"]


def test_time_passes_only_in_the_loop() -> None:
    loop = SimulatedLoop()

    loop.run_until_complete(asyncio.sleep(86_400))

    assert loop.time() == 86_400
    loop.close()
