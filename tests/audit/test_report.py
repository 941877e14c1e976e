from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from daytwo.audit import Report, audit
from daytwo.broker import Broker, Outgoing, outgoing
from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from daytwo.memory import MemoryBroker
from daytwo.records import AnswerLearned
from daytwo.topics import REQUEST_FINISHED, TOPIC_NAMED
from tests.audit.builders import Log, accepted, account, admitted, finished, ledger


class Now(SystemClock):
    """The clock of `Log`, a few minutes later."""

    def now_ms(self) -> int:
        return Log().now_ms + 300_000


async def written(log: Log) -> MemoryBroker:
    broker = MemoryBroker(SystemClock())
    for record, _ in log.records:
        broker.append(outgoing(record))
    return broker


async def report(broker: Broker, view_of_ledger: Mapping[str, Any] | None = None, **options: Any) -> Report:
    async def view() -> Mapping[str, Any]:
        assert view_of_ledger is not None
        return view_of_ledger

    reader = broker.reader()
    await reader.start()
    try:
        return await audit(reader, Now(), ledger=None if view_of_ledger is None else view, **{"settle_s": 0.0, **options})
    finally:
        await reader.stop()


async def test_a_clean_log_and_ledger_make_a_clean_report() -> None:
    log = Log()
    log.answered("r1", reserved=90, cost=30)
    found = await report(await written(log), ledger(acme=account(30)))

    assert found.clean
    assert found.counts["accepted"] == found.counts["ended"] == found.counts["attempts_succeeded"] == 1
    assert found.money["acme"] == {"reserved_nano": 90, "settled_nano": 30, "released_nano": 60, "held_nano": 0}


async def test_a_lost_request_is_in_the_report_by_its_id() -> None:
    log = Log()
    log.write(accepted("r1"))
    found = await report(await written(log))

    assert not found.clean
    assert found.as_json()["violations"][0]["ids"] == ["r1", "acme"]
    assert (found.counts["lost"], found.counts["open"]) == (1, 0)


async def test_while_something_is_open_a_moving_ledger_is_no_violation() -> None:
    log = Log()
    log.write(accepted("r1", deadline_ms=Now().now_ms()), admitted("r1"))
    found = await report(await written(log), ledger())

    assert found.clean
    assert any("1 requests are open" in note for note in found.notes)


async def test_when_nothing_is_open_a_differing_ledger_is_a_violation() -> None:
    log = Log()
    log.answered("r1")
    found = await report(await written(log), ledger(acme=account(29)))

    assert [violation.rule for violation in found.violations] == ["ledger_differs"]


async def test_the_audit_waits_for_what_is_under_way() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1", reserved=90))
    broker = await written(log)
    views = [ledger(acme=account(0, 90, ("r1",))), ledger(acme=account(0))]

    async def view() -> Mapping[str, Any]:
        if len(views) == 2:
            broker.append(outgoing(finished("r1", cost=0)))
        return views.pop(0)

    reader = broker.reader()
    await reader.start()
    found = await audit(reader, Now(), ledger=view, settle_s=20.0)

    assert found.clean
    assert found.counts["open"] == 0


async def test_garbage_on_a_topic_is_counted_and_stops_nothing() -> None:
    log = Log()
    log.answered("r1")
    broker = await written(log)
    broker.append(Outgoing(topic=REQUEST_FINISHED.name, key=b"acme/r1", value=b"garbage"))
    found = await report(broker)

    assert found.clean
    assert found.counts["unreadable"] == 1


async def test_a_log_whose_beginning_is_gone_is_judged_from_its_retention_on() -> None:
    log = Log()
    log.write(accepted("old"))
    broker = await written(log)
    (partition,) = [partition for partition, records in broker.logs.items() if records]
    gone = broker.logs[partition][0]
    broker.logs[partition] = [gone._replace(offset=7)]
    found = await report(_Trimmed(broker))

    assert any("beginning of the log" in note for note in found.notes)


class _Trimmed(MemoryBroker):
    """Its partitions begin where their first record says."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker.clock)
        self.logs = broker.logs

    def reader(self, *, patience_ms: int = 0) -> Any:
        return _TrimmedReader(super().reader(), self)


class _TrimmedReader:
    def __init__(self, reader: Any, broker: MemoryBroker) -> None:
        self._reader = reader
        self._broker = broker
        self._sought: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def ends(self, partitions: Any) -> dict[Any, int]:
        return {p: self._broker.logs[p][-1].offset + 1 if self._broker.logs[p] else 0 for p in partitions}

    async def seek(self, offsets: Any) -> None:
        self._sought = list(offsets)

    async def read(self, timeout_s: float) -> list[Any]:
        return [raw for partition in self._sought for raw in self._broker.logs[partition]]


async def test_with_since_only_younger_requests_are_judged() -> None:
    log = Log()
    log.write(accepted("r1"))
    found = await report(await written(log), since_ms=SystemClock().now_ms() + 60_000)

    assert found.clean
    assert found.counts["accepted"] == 0


async def test_a_broker_that_does_not_answer_is_an_error_and_no_clean_report() -> None:
    broker = await written(Log())
    reader = broker.reader()
    await reader.start()
    broker.down = True

    with pytest.raises(RetryableError):
        await audit(reader, Now(), ledger=None)


def test_every_topic_of_the_audit_is_declared() -> None:
    assert TOPIC_NAMED["answer-learned"].record is AnswerLearned
