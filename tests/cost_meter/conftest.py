"""The ledgers a contract test runs on: the one in memory, and Redis at DAYTWO_LEDGER_REDIS."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator

import pytest

from services.cost_meter.ports import Ledger
from services.cost_meter.redis_ledger import RedisLedger
from tests.cost_meter.builders import HOUR, NOON
from tests.cost_meter.memory_ledger import MemoryLedger

KEEP_MS = 192 * HOUR


async def open_gate(ledger: RedisLedger) -> None:
    """As the keeper does, without a look at the log."""
    run_id = await ledger.gate.run_id()
    if not await ledger.gate.is_open():
        await ledger.gate.take_turn(run_id)
        await ledger.gate.open(run_id, NOON, 0)


@pytest.fixture
def redis_url() -> str:
    return os.environ["DAYTWO_LEDGER_REDIS"]


@pytest.fixture
async def redis_ledger(redis_url: str) -> AsyncIterator[RedisLedger]:
    ledger = RedisLedger(redis_url, keep_ms=KEEP_MS)
    await ledger.start()
    await open_gate(ledger)
    yield ledger
    await ledger.stop()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    made: Ledger = MemoryLedger() if request.param == "memory" else request.getfixturevalue("redis_ledger")
    return made


@pytest.fixture
def fresh_tenant() -> str:
    """Nobody else's on a shared Redis."""
    return f"t-{uuid.uuid4().hex}"
