"""Kafka of three brokers, killed one after another under load."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.plan import SERVICES, Step
from tests.chaos.report import story
from tests.chaos.run import run
from tests.chaos.site import site
from tests.chaos.three_brokers import BROKERS, ThreeBrokers
from tests.stack import STATE

pytestmark = [pytest.mark.stack, pytest.mark.system]

ONE_EACH = tuple(name for name in SERVICES if name.endswith("-0"))


async def test_brokers_killed_one_after_another_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTWO_REPLICATION", "3")
    steps = [Step(at_s=5.0 + 8 * place, fault="kill Kafka", targets=(name,)) for place, name in enumerate(BROKERS)]

    async with site(Path(f"{STATE}-brokers"), kind=ThreeBrokers, services=ONE_EACH) as here:
        found = await run(here, steps, random.Random(11), print)
    print("\n".join(story(found)))

    assert found.verdict.clean, found.verdict.wrong
    assert set(found.verdict.outcomes["plain"]) == {"answered"}
