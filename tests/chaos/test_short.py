"""A short chaos run: what `make chaos` does at length."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.plan import SERVICES, Step
from tests.chaos.report import story
from tests.chaos.run import run
from tests.chaos.site import site
from tests.stack import STATE

pytestmark = [pytest.mark.stack, pytest.mark.system]

STEPS = [
    Step(at_s=5, fault="freeze a service", targets=("inference-router-1",), lasts_s=12),
    Step(at_s=20, fault="kill all services", targets=SERVICES),
    Step(at_s=26, fault="kill Kafka", targets=("kafka",)),
    Step(at_s=36, fault="scale up and down", targets=("inference-router-2",), lasts_s=4),
    Step(at_s=44, fault="kill all stores", targets=("ledger-redis", "cache-redis", "milvus", "mock-provider")),
    Step(at_s=48, fault="send a poison record", targets=("cache",)),
    Step(at_s=56, fault="fill Kafka's disk", targets=("kafka",), lasts_s=4),
]
"""Each fault that needs no patience, once, and the zombie, whose writes come latest. Recovery is measured, not asserted: this machine
has other work to do.
"""


async def test_under_faults_nothing_is_lost_or_doubled() -> None:
    async with site(Path(f"{STATE}-chaos")) as here:
        found = await run(here, STEPS, random.Random(5), print)
    print("\n".join(story(found)))

    assert found.verdict.clean, found.verdict.wrong
    assert found.probes > 200
