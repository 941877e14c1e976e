"""The real parts, brought up once for all tests that are marked `stack`, and a broker for those of the loop."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daytwo.broker import Broker
from daytwo.clock import SystemClock
from daytwo.kafka import KafkaBroker
from daytwo.memory import MemoryBroker
from daytwo.provision import provision
from tests.simulation.broker import SimulatedBroker
from tests.simulation.network import Network
from tests.simulation.story import Story
from tests.stack import STATE, running_stack

ADDRESSES = {
    "kafka": "DAYTWO_KAFKA",
    "registry": "DAYTWO_REGISTRY",
    "ledger_redis": "DAYTWO_LEDGER_REDIS",
    "cache_redis": "DAYTWO_CACHE_REDIS",
    "milvus": "DAYTWO_MILVUS",
    "model": "DAYTWO_MODEL",
    "mock_provider": "DAYTWO_MOCK_PROVIDER",
}


def _exported(stack: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, variable in ADDRESSES.items():
            patch.setenv(variable, stack[name])
        yield stack


@pytest.fixture(scope="session")
def parts() -> Iterator[dict[str, Any]]:
    """Kafka with its topics, both Redis servers, Milvus, the registry and the providers, but none of our services."""
    if address := os.environ.get("DAYTWO_TEST_PARTS"):  # a stack that is up already, while developing
        import json

        yield from _exported(json.loads((Path(address) / "stack.json").read_text()))
        return
    with running_stack("kafka,ledger-redis,cache-redis,milvus,registry,mock-provider", Path(f"{STATE}-parts")) as stack:
        asyncio.run(provision(stack["kafka"]))
        yield from _exported(stack)


@pytest.fixture(autouse=True)
def _parts_for_stack_tests(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("stack") and not request.node.get_closest_marker("system"):
        request.getfixturevalue("parts")


@pytest.fixture(params=["memory", "simulated", pytest.param("kafka", marks=pytest.mark.stack)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """The same promises, on the broker in memory, on that of the simulation (in real time here), and on real Kafka."""
    if request.param == "memory":
        return MemoryBroker(SystemClock())
    if request.param == "simulated":
        story = Story(time.monotonic, wanted=False)
        return SimulatedBroker(SystemClock(), Network(random.Random(1), story, calm=True))
    return KafkaBroker(request.getfixturevalue("parts")["kafka"])
