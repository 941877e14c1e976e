"""A ledger that lost something: the gate stays closed until the log was played onto it. On a Redis of its own, with a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daytwo.broker import Outgoing, outgoing
from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from daytwo.memory import MemoryBroker
from daytwo.openings import LANDS_S, Openings
from daytwo.records import LedgerOpened, RequestAdmitted, TenantConfigured, Usage
from services.cost_meter.decisions import AtLimit
from services.cost_meter.history import History
from services.cost_meter.keeper import LedgerKeeper, NotRebuiltError, Rebuilt
from services.cost_meter.ports import Answer, Closed, Decided, Reservation
from services.cost_meter.redis_gate import GATE
from services.cost_meter.redis_holdings import RedisHoldings
from services.cost_meter.redis_ledger import RedisLedger
from tests.cost_meter.builders import admission, cap, capped, concurrency_cap, ended, request, reservation, settlement
from tests.cost_meter.conftest import KEEP_MS
from tests.cost_meter.own_redis import OwnRedis

pytestmark = pytest.mark.stack

CAPS = (cap(1000, "total"), cap(250, "day", "user"), concurrency_cap(2, "agent"))


class Books:
    """A ledger, its keeper and the log they live by."""

    def __init__(self, redis: OwnRedis) -> None:
        self.redis = redis
        self.broker = MemoryBroker(SystemClock())
        self.ledger = RedisLedger(redis.url, keep_ms=KEEP_MS)
        self.history = History(self.broker.reader(), SystemClock())
        self.sender = self.broker.sender()
        self.keeper = self.another_keeper(self.ledger, history=self.history)

    def another_keeper(self, ledger: RedisLedger, *, history: History | None = None, trust_log: bool = False) -> LedgerKeeper:
        clock = SystemClock()
        openings = Openings(self.broker.reader(), clock)
        history = history or History(self.broker.reader(), clock)
        return LedgerKeeper(ledger, RedisHoldings(ledger), history, openings, self.log, clock, trust_log=trust_log)

    async def start(self, *tenants: TenantConfigured) -> None:
        await self.sender.start()
        await self.history.start()
        await self.log(*(tenants or (capped(*CAPS),)))
        await self.ledger.start()
        assert await self.keeper.rebuild()

    async def stop(self) -> None:
        await self.history.stop()
        await self.ledger.stop()
        await self.sender.stop()

    async def log(self, *records: Any) -> None:
        await self.sender.send([outgoing(record) for record in records])

    def wanted(self, name: str, amount: int = 100, **fields: Any) -> Reservation:
        now_ms = SystemClock().now_ms()
        return reservation(amount, *CAPS, tokens=10, request_id=name, at_ms=now_ms, user="ann", agent="planner", **fields)

    async def admit(self, name: str, amount: int = 100) -> Answer:
        """As cost-meter does: reserved, and then on the log."""
        wanted = self.wanted(name, amount)
        answer = await self.ledger.reserve(wanted)
        if isinstance(answer, Decided) and not isinstance(answer.decision, AtLimit):
            await self.write_admitted(name, amount, answer.ledger)
        return answer

    async def write_admitted(self, name: str, amount: int, opening: int) -> None:
        granted = replace(admission(amount, 10), ledger=opening)
        await self.log(RequestAdmitted(request=request(request_id=name, user="ann", agent="planner"), fingerprint="f-1", admission=granted))

    async def end(self, name: str, cost: int = 40, *, settle: bool = True) -> None:
        whose = ended(request_id=name, cost_nano=cost, usage=Usage(input_tokens=3, output_tokens=4))
        record = replace(whose, user="ann", agent="planner")
        ((partition, offset),) = await self.sender.send([outgoing(record)])
        if settle:
            await self.ledger.settle(settlement(cost, tokens=7, request_id=name, partition=partition, offset=offset))

    async def sums(self) -> dict[str, tuple[int, int, int, int]]:
        account = (await self.ledger.accounts())["acme"]
        return {
            f"{c.path.split('/')[0]} {c.path.split('/')[2]}": (c.settled_nano, c.reserved_nano, c.settled_tokens, c.reserved_tokens)
            for c in account.counters
        }


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    redis = OwnRedis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
async def books(own_redis: OwnRedis) -> AsyncIterator[Books]:
    there = Books(own_redis)
    await there.start()
    yield there
    await there.stop()


async def rebuilt(books: Books) -> Rebuilt:
    """Until the connections that broke are made anew."""
    for _ in range(5):
        try:
            if (found := await books.keeper.rebuild()) is not None:
                return found
        except NotRebuiltError:
            raise
        except RetryableError:
            continue
    raise AssertionError("not rebuilt")


async def test_a_restarted_redis_admits_nothing_until_it_was_held_against_the_log(books: Books) -> None:
    await books.admit("r-1")
    books.redis.kill()
    with pytest.raises(RetryableError):
        await books.admit("r-2")
    books.redis.start()

    with pytest.raises(RetryableError, match="held against the log"):
        await books.admit("r-2")
    with pytest.raises(RetryableError, match="held against the log"):
        await books.ledger.settle(settlement(request_id="r-1"))
    with pytest.raises(RetryableError, match="held against the log"):
        await books.ledger.accounts()
    await rebuilt(books)

    assert isinstance(await books.admit("r-2"), Decided)
    assert (await books.sums())["tenant total"] == (0, 200, 0, 20)


async def test_an_emptied_redis_is_shut_at_once_and_gets_everything_back_from_the_log(books: Books) -> None:
    for name in ("r-1", "r-2"):
        await books.admit(name)
    await books.end("r-1")
    before = await books.sums()
    await books.ledger.redis.flushall()

    with pytest.raises(RetryableError):
        await books.admit("r-3")
    found = await rebuilt(books)

    assert (found.admitted, found.ended) == (2, 1)
    assert await books.sums() == before
    assert isinstance(await books.ledger.reserve(books.wanted("r-1")), Closed)
    repeat = await books.ledger.reserve(books.wanted("r-2"))
    assert isinstance(repeat, Decided)
    assert repeat.repeated


async def test_caps_hold_across_a_loss_in_every_scope(books: Books) -> None:
    await books.admit("r-1")
    await books.admit("r-2")
    books.redis.empty()
    await rebuilt(books)

    full = await books.admit("r-3")
    await books.end("r-1", cost=60)
    fits = await books.admit("r-4", amount=90)

    assert isinstance(full, Decided)
    assert isinstance(full.decision, AtLimit)
    assert (full.decision.hit.scope, full.decision.hit.used) == ("user", 200)
    assert isinstance(fits, Decided)
    assert not isinstance(fits.decision, AtLimit)
    assert (await books.sums())["user day"] == (60, 190, 7, 20)


async def test_an_older_state_gets_what_it_has_lost(books: Books) -> None:
    await books.admit("r-1")
    await books.admit("r-2")
    books.redis.copy("earlier")
    await books.end("r-1")
    await books.admit("r-3", amount=50)
    await books.end("r-3", cost=7)
    before = await books.sums()
    books.redis.go_back("earlier")

    await rebuilt(books)

    assert await books.sums() == before
    assert isinstance(await books.ledger.reserve(books.wanted("r-3")), Closed)


async def test_open_requests_that_were_forgotten_count_again(books: Books) -> None:
    books.redis.copy("nothing")
    await books.admit("r-1", amount=10)
    await books.admit("r-2", amount=10)
    books.redis.go_back("nothing")
    await rebuilt(books)

    third = await books.admit("r-3", amount=10)

    assert isinstance(third, Decided)
    assert isinstance(third.decision, AtLimit)
    assert (third.decision.hit.kind, third.decision.hit.used) == ("concurrency", 2)


async def test_what_was_cache_only_first_and_admitted_later_is_booked_as_admitted(books: Books) -> None:
    asked = request(request_id="r-1", user="ann")
    first = replace(admission(0), cache_only=True, round=2, then=("wait",))
    later = replace(admission(30), round=2)
    await books.log(*[RequestAdmitted(request=asked, fingerprint="f-1", admission=granted) for granted in (first, later)])
    books.redis.empty()

    await rebuilt(books)

    assert (await books.sums())["tenant total"][:2] == (0, 30)


async def test_an_emptied_ledger_stays_closed_where_the_log_has_lost_its_beginning(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut() -> bool:
        return False

    await books.admit("r-1")
    monkeypatch.setattr(books.history, "whole", cut)
    books.redis.empty()

    with pytest.raises(NotRebuiltError, match="DAYTWO_LEDGER_TRUST_LOG"):
        await rebuilt(books)
    trusting = books.another_keeper(books.ledger, history=books.history, trust_log=True)

    assert await trusting.rebuild()
    assert (await books.sums())["tenant total"] == (0, 100, 0, 10)


async def test_an_emptied_ledger_in_which_a_late_caller_has_named_its_tenant_is_still_taken_for_emptied(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut() -> bool:
        return False

    await books.admit("r-1")
    monkeypatch.setattr(books.history, "whole", cut)
    books.redis.empty()
    for _ in range(3):  # a broken connection; the shut gate; and, in doubt since, the tenant's name before the gate is looked at
        with pytest.raises(RetryableError):
            await books.admit("r-2")

    with pytest.raises(NotRebuiltError, match="DAYTWO_LEDGER_TRUST_LOG"):
        await rebuilt(books)


async def test_a_rebuilding_of_an_emptied_ledger_that_broke_off_is_taken_up_by_the_next(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks_off(*_: Any) -> None:
        raise RetryableError("store_unavailable", "Kafka is away")

    for name in ("r-1", "r-2"):
        await books.admit(name)
    await books.end("r-1")
    before = await books.sums()
    books.redis.empty()
    with monkeypatch.context() as away:
        away.setattr(books.keeper, "_compare", breaks_off)
        for _ in range(2):  # the first meets a broken connection
            with pytest.raises(RetryableError):
                await books.keeper.rebuild()

    await rebuilt(books)

    assert await books.sums() == before


async def test_a_call_that_met_a_shut_gate_goes_on_when_it_opens_and_not_after_its_own_growing_pauses(books: Books) -> None:
    patient = RedisLedger(books.redis.url, keep_ms=KEEP_MS, opens_within_s=5.0)
    await patient.start()
    keeper = books.another_keeper(patient)
    await books.admit("r-1")
    await patient.redis.delete(GATE)

    waiting = asyncio.create_task(patient.reserve(books.wanted("r-2")))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await keeper.start()
    answer = await waiting

    assert isinstance(answer, Decided)
    await keeper.stop()
    await patient.stop()


async def test_a_counter_that_is_not_what_is_open_keeps_the_gate_closed(books: Books) -> None:
    await books.admit("r-1")
    await books.ledger.redis.hincrby("{acme}/spent/tenant//total/total", "reserved", 1)
    await books.ledger.redis.delete(GATE)

    with pytest.raises(NotRebuiltError, match="1 counters differ"):
        await rebuilt(books)
    with pytest.raises(RetryableError):
        await books.admit("r-2")


async def test_only_one_rebuilds_at_a_time_and_a_turn_does_not_survive_a_restart(books: Books) -> None:
    other = RedisLedger(books.redis.url, keep_ms=KEEP_MS)
    await other.start()
    run_id = await other.gate.run_id()
    await other.redis.delete(GATE)
    assert await other.gate.take_turn(run_id)

    assert await books.keeper.rebuild() is None
    books.redis.kill()
    books.redis.start()
    await rebuilt(books)

    assert not await other.gate.open(run_id, 0, 1), "it was another process's ledger that it had checked"
    assert await books.ledger.gate.is_open()
    await other.stop()


async def test_a_tenant_that_is_gone_is_settled_all_the_same(books: Books) -> None:
    await books.admit("r-1")
    await books.sender.send([Outgoing(topic="tenant-configured", key=b"acme", value=None)])
    await books.end("r-1", settle=False)
    books.redis.empty()

    found = await rebuilt(books)

    assert found.settled_nano == {"acme": 40}


async def test_a_keeper_opens_a_new_ledger_and_one_that_comes_back(books: Books) -> None:
    keeper = books.another_keeper(books.ledger)
    await keeper.start()
    await books.admit("r-1")
    books.redis.empty()

    for _ in range(200):
        try:
            await books.admit("r-2")
            break
        except RetryableError:
            await SystemClock().sleep(0.05)
    await keeper.stop()

    assert (await books.sums())["tenant total"] == (0, 200, 0, 20)


async def test_a_lost_grant_that_comes_to_the_log_after_the_ledger_was_opened_anew_is_void_for_every_later_opening(books: Books) -> None:
    late = await books.ledger.reserve(books.wanted("r-1"))
    assert isinstance(late, Decided)
    books.redis.empty()
    await rebuilt(books)
    for name in ("r-2", "r-3"):
        await books.admit(name)
    await books.write_admitted("r-1", 100, late.ledger)

    books.redis.empty()
    found = await rebuilt(books)

    assert found.admitted == 2
    assert (await books.sums())["user day"] == (0, 200, 0, 20), "the cap is 250"


async def test_a_grant_that_comes_to_the_log_before_the_last_reading_counts_though_it_was_lost(books: Books) -> None:
    late = await books.ledger.reserve(books.wanted("r-1"))
    assert isinstance(late, Decided)
    books.redis.empty()
    rebuilding = asyncio.create_task(rebuilt(books))
    await asyncio.sleep(LANDS_S / 2)
    await books.write_admitted("r-1", 100, late.ledger)

    found = await rebuilding

    assert (found.admitted, found.number) == (1, late.ledger + 1)
    assert (await books.sums())["tenant total"] == (0, 100, 0, 10)


async def test_an_opening_that_was_announced_and_never_came_is_followed_by_one(books: Books) -> None:
    await books.admit("r-1")
    opened = await books.ledger.gate.number()
    await books.log(LedgerOpened(ledger="main", number=opened + 1, by="somebody who died", announced_at_ms=0))
    keeper = books.another_keeper(books.ledger)
    await keeper.start()

    async with asyncio.timeout(10):
        while await books.ledger.gate.number() < opened + 2:
            await asyncio.sleep(0.05)

    await keeper.stop()
    assert (await books.sums())["tenant total"] == (0, 100, 0, 10)


async def test_of_two_openings_of_one_number_the_first_on_the_log_holds(books: Books) -> None:
    other = books.another_keeper(books.ledger)
    await other._openings.start()
    taken = await books.ledger.gate.number() + 1

    async def as_another_does(opening: LedgerOpened) -> None:
        await books.log(replace(opening, by="another"), opening)

    other._announce = as_another_does
    with pytest.raises(RetryableError, match=f"opening {taken} of the ledger is another's"):
        await other._announced()
    await other._openings.stop()
