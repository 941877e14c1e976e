"""A rate limit on the whole road: who is over it is refused for a while, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.system.road import request, road

pytestmark = [pytest.mark.system, pytest.mark.stack]


async def test_over_a_rate_limit_requests_are_refused_with_the_time_to_try_again_and_then_served(daytwo: dict[str, Any]) -> None:
    async with road(daytwo) as open_road:
        asked = [request("limited", cache="off") for _ in range(60)]
        for one in asked:
            await open_road.submit(one)
            await asyncio.sleep(0.05)
        results = [await open_road.result(one.request_id) for one in asked]
        held = [result for result in results if result.outcome == "refused"]
        assert {result.reason for result in held} == {"rate_limited"}
        assert results[0].outcome == "answered"
        assert len(held) > 20
        hit = held[-1].limit_hit
        assert hit is not None
        assert (hit.scope, hit.kind, hit.period, hit.limit) == ("tenant", "request_rate", "minute", 120)
        other = await open_road.answer(request("plain", cache="off"))
        assert other.outcome == "answered"
        wait_ms = held[-1].retry_after_ms
        assert wait_ms is not None
        await asyncio.sleep(wait_ms / 1000 + 2)
        again = await open_road.answer(request("limited", cache="off"))
        assert again.outcome == "answered"
