"""The ledger under any sequence of calls: the invariants of the model, and the scripts against the model."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daytwo.records import Cap
from services.cost_meter.decisions import OverCap
from services.cost_meter.ports import Account, Decided, Ledger
from services.cost_meter.redis_ledger import RedisLedger
from tests.cost_meter.builders import HOUR, NOON, reservation, settlement
from tests.cost_meter.conftest import KEEP_MS
from tests.cost_meter.memory_ledger import MemoryLedger

T = TypeVar("T")

caps = st.builds(
    Cap,
    scope=st.sampled_from(["tenant", "user", "workflow"]),
    period=st.sampled_from(["hour", "day", "month", "total"]),
    limit_nano=st.integers(0, 500),
)
ids = st.sampled_from([f"r-{number}" for number in range(8)])
costs = st.dictionaries(st.sampled_from(["a-1", "a-2", "a-3"]), st.integers(0, 400))
fingerprints = st.sampled_from(["f-1", "f-1", "f-1", "f-2"])


class Model(RuleBasedStateMachine):
    """Any requests, repeats, reused ids and ends, in any order, under any caps."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.tenant = f"t-{uuid.uuid4().hex}"
        self.model = MemoryLedger()
        self.other: Ledger = self.model

    def run(self, call: Awaitable[T]) -> T:
        async def called() -> T:
            return await call

        return self.runner.run(called())

    def teardown(self) -> None:
        assert self.account(self.other) == self.account(self.model)
        self.run(self.other.stop())
        self.runner.close()

    def account(self, ledger: Ledger) -> object:
        return comparable(self.run(ledger.accounts()).get(self.tenant))

    @rule(
        request_id=ids,
        fingerprint=fingerprints,
        amount=st.integers(0, 300),
        caps=st.lists(caps, max_size=4),
        user=st.sampled_from(["", "ann", "bob"]),
        workflow=st.sampled_from(["", "w"]),
        hours=st.integers(0, 30),
    )
    def reserve(self, request_id: str, fingerprint: str, amount: int, caps: list[Cap], user: str, workflow: str, hours: int) -> None:
        wanted = reservation(
            amount,
            *caps,
            user=user,
            workflow=workflow,
            tenant=self.tenant,
            request_id=request_id,
            fingerprint=fingerprint,
            at_ms=NOON + hours * HOUR,
        )
        answer = self.run(self.other.reserve(wanted))
        if self.other is not self.model:
            assert answer == self.run(self.model.reserve(wanted))
        if isinstance(answer, Decided) and not answer.repeated and not isinstance(answer.decision, OverCap):
            book = self.model.books[self.tenant]
            for window in wanted.windows:
                assert window.limit_nano is None or book.settled[window.path] + book.reserved[window.path] <= window.limit_nano

    @rule(request_id=ids, fingerprint=fingerprints, costs=costs, offset=st.integers(0, 10**12))
    def settle(self, request_id: str, fingerprint: str, costs: dict[str, int], offset: int) -> None:
        """A result; each attempt is booked at most once, whichever results list it."""
        attempts = tuple(costs.items())
        end = settlement(
            sum(costs.values()), tenant=self.tenant, request_id=request_id, fingerprint=fingerprint, offset=offset, attempts=attempts
        )
        self.run(self.other.settle(end))
        if self.other is not self.model:
            self.run(self.model.settle(end))

    @invariant()
    def what_is_reserved_is_what_is_open(self) -> None:
        book = self.model.books[self.tenant]
        assert book.reserved.get("tenant//total/total", 0) == sum(e.amount for e in book.requests.values() if not e.closed)
        assert all(amount >= 0 for amount in book.reserved.values())


def comparable(account: Account | None) -> object:
    if account is None:
        return None
    return {(c.path, c.settled_nano, c.reserved_nano) for c in account.counters}, account.open, list(account.open_ids)


class RedisAgainstModel(Model):
    def __init__(self) -> None:
        super().__init__()
        self.other = RedisLedger(os.environ["DAYTWO_LEDGER_REDIS"], keep_ms=KEEP_MS)
        self.run(self.other.start())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

TestRedisAgainstModel = pytest.mark.stack(RedisAgainstModel.TestCase)
TestRedisAgainstModel.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
