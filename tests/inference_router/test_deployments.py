"""The table of deployments, followed live, and what a change does to the door of one."""

from __future__ import annotations

import asyncio
from typing import Any

from daytwo.flow import Change
from daytwo.records import DeploymentConfigured
from services.inference_router.breaker import BreakerPolicy
from services.inference_router.deployments import Deployments
from tests.inference_router.builders import FastClock, StillClock, deployment


async def apply(deployments: Deployments, key: str, row: DeploymentConfigured | None) -> None:
    await deployments.apply([Change(key=key, record=row, partition=0, offset=0)])


async def with_open_breaker() -> Deployments:
    deployments = Deployments(BreakerPolicy(failures=1), FastClock())
    await apply(deployments, "a", deployment())
    breaker = deployments.door(deployment()).breaker
    breaker.leave(breaker.enter() or 0, "ill")
    assert breaker.state == "open"
    return deployments


async def test_a_changed_weight_or_time_out_leaves_the_breaker_as_it_is() -> None:
    deployments = await with_open_breaker()
    await apply(deployments, "a", deployment(weight=7, priority=3, timeout_ms=1))
    assert deployments.door(deployment()).breaker.state == "open"


async def test_another_address_or_key_has_a_breaker_of_its_own() -> None:
    changes: list[dict[str, Any]] = [{"base_url": "http://new/v1"}, {"api_key_env": "NEW_KEY"}, {"model": "new"}]
    for change in changes:
        deployments = await with_open_breaker()
        await apply(deployments, "a", deployment(**change))
        assert deployments.door(deployment()).breaker.state == "closed"


async def test_a_change_of_one_deployment_leaves_the_others_alone() -> None:
    deployments = await with_open_breaker()
    await apply(deployments, "b", deployment("b"))
    assert deployments.door(deployment()).breaker.state == "open"


async def test_a_deleted_deployment_is_served_no_more() -> None:
    deployments = await with_open_breaker()
    assert [row.deployment for row in deployments.serving("small")] == ["a"]
    await apply(deployments, "a", None)
    assert deployments.serving("small") == []


async def test_calls_under_way_count_on_when_the_address_changes_and_more_room_lets_waiting_ones_in() -> None:
    deployments = Deployments(BreakerPolicy(), StillClock())
    await apply(deployments, "a", deployment(max_in_flight=1))
    door = deployments.door(deployment(max_in_flight=1))
    await door.lanes.enter("batch", 9)
    waiting = asyncio.create_task(door.lanes.enter("batch", 9))
    await asyncio.sleep(0)
    await apply(deployments, "a", deployment(max_in_flight=2, base_url="http://new/v1"))
    assert await waiting
    assert deployments.door(deployment()).lanes.inside == 2


async def test_operators_see_each_deployments_door() -> None:
    deployments = await with_open_breaker()
    (line,) = await deployments.view()
    assert (line["deployment"], line["breaker"], line["opens_in_ms"], line["in_flight"]) == ("a", "open", 1000, 0)
