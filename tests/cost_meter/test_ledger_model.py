"""The ledger under any sequence of calls: the invariants of the model, and the scripts against the model."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daytwo.records import Cap, ConcurrencyCap, LimitHit, TokenCap
from services.cost_meter.budget import PERIODS, SCOPES, Window
from services.cost_meter.decisions import AtLimit
from services.cost_meter.ports import Account, Decided, Ledger
from services.cost_meter.redis_ledger import RedisLedger
from tests.cost_meter.builders import HOUR, NOON, reservation, restoration, settlement
from tests.cost_meter.conftest import KEEP_MS, open_gate
from tests.cost_meter.memory_ledger import MemoryLedger

T = TypeVar("T")

scopes = st.sampled_from(SCOPES)
patterns = st.sampled_from(["*", "*", "a*", "ann"])
periods = st.sampled_from(PERIODS)
caps = st.one_of(
    st.builds(Cap, scope=scopes, subject=patterns, period=periods, limit_nano=st.integers(0, 500)),
    st.builds(TokenCap, scope=scopes, subject=patterns, period=periods, limit_tokens=st.integers(0, 50)),
    st.builds(ConcurrencyCap, scope=scopes, subject=patterns, limit_requests=st.integers(0, 4)),
)
THROTTLED = AtLimit(hit=LimitHit(scope="tenant", subject="", kind="token_rate", period="minute", limit=1, used=1, wanted=0), then=("wait",))
AnyCap = Cap | TokenCap | ConcurrencyCap
subjects = st.fixed_dictionaries({scope: st.sampled_from(["", "ann", "abe", "bob"]) for scope in SCOPES[1:]})
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
        self.other: Any = self.model

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
        tokens=st.integers(0, 30),
        caps=st.lists(caps, max_size=6),
        subjects=subjects,
        hours=st.integers(0, 30),
        round_=st.integers(0, 3),
        throttled=st.sampled_from([False, False, False, True]),
    )
    def reserve(
        self,
        request_id: str,
        fingerprint: str,
        amount: int,
        tokens: int,
        caps: list[AnyCap],
        subjects: dict[str, Any],
        hours: int,
        round_: int,
        throttled: bool,
    ) -> None:
        wanted = reservation(
            amount,
            *caps,
            tokens=tokens,
            **subjects,
            tenant=self.tenant,
            request_id=request_id,
            fingerprint=fingerprint,
            at_ms=NOON + hours * HOUR,
            round=round_,
            **({"proposal": THROTTLED, "windows": ()} if throttled else {}),
        )
        answer = self.run(self.other.reserve(wanted))
        if self.other is not self.model:
            assert answer == self.run(self.model.reserve(wanted))
        if isinstance(answer, Decided) and not answer.repeated and not isinstance(answer.decision, AtLimit):
            for window in wanted.windows:
                self.within(window)

    def within(self, window: Window) -> None:
        """Settled + reserved <= cap, in every unit."""
        counter = self.model.books[self.tenant].counter(window.path)
        assert window.limit_nano is None or counter.settled_nano + counter.reserved_nano <= window.limit_nano
        assert window.limit_tokens is None or counter.settled_tokens + counter.reserved_tokens <= window.limit_tokens
        assert window.limit_requests is None or counter.open <= window.limit_requests

    @rule(request_id=ids, fingerprint=fingerprints, costs=costs, tokens=st.integers(0, 40), offset=st.integers(0, 10**12))
    def settle(self, request_id: str, fingerprint: str, costs: dict[str, int], tokens: int, offset: int) -> None:
        """A result; each attempt is booked at most once, whichever results list it."""
        end = settlement(
            sum(costs.values()),
            tokens=tokens,
            tenant=self.tenant,
            request_id=request_id,
            fingerprint=fingerprint,
            offset=offset,
            attempts=tuple((name, cost, cost // 10) for name, cost in costs.items()),
        )
        settled = self.run(self.other.settle(end))
        if self.other is not self.model:
            assert settled == self.run(self.model.settle(end))

    @rule(
        request_id=ids,
        fingerprint=fingerprints,
        amount=st.integers(0, 300),
        caps=st.lists(caps, max_size=3),
        subjects=subjects,
        round_=st.integers(0, 3),
    )
    def restore(self, request_id: str, fingerprint: str, amount: int, caps: list[AnyCap], subjects: dict[str, Any], round_: int) -> None:
        wanted = reservation(amount, *caps, **subjects, tenant=self.tenant, request_id=request_id, fingerprint=fingerprint, round=round_)
        self.run(self.other.restore([restoration(wanted)]))
        if self.other is not self.model:
            self.run(self.model.restore([restoration(wanted)]))

    @invariant()
    def what_is_reserved_is_what_is_open(self) -> None:
        book = self.model.books[self.tenant]
        still = [entry for entry in book.requests.values() if not entry.closed]
        for path, counter in book.counters.items():
            holding = [entry for entry in still if path in entry.paths]
            if path.endswith("/open/now"):
                assert counter.open == sum(entry.open for entry in holding)
            else:
                assert counter.reserved_nano == sum(entry.amount for entry in holding)
                assert counter.reserved_tokens == sum(entry.tokens for entry in holding)


def comparable(account: Account | None) -> object:
    if account is None:
        return None
    return set(account.counters), account.open, list(account.open_ids)


class RedisAgainstModel(Model):
    def __init__(self) -> None:
        super().__init__()
        self.other = RedisLedger(os.environ["DAYTWO_LEDGER_REDIS"], keep_ms=KEEP_MS)
        self.run(self.other.start())
        self.run(open_gate(self.other))


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

TestRedisAgainstModel = pytest.mark.stack(RedisAgainstModel.TestCase)
TestRedisAgainstModel.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
