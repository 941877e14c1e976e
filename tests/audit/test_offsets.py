"""Committed offsets against the log."""

from __future__ import annotations

from daytwo.audit import Outputs, passed_over
from daytwo.broker import Outgoing, Partition, outgoing
from daytwo.clock import SystemClock
from daytwo.fate import headers_of
from daytwo.memory import MemoryBroker
from daytwo.records import DeadLetter, LimitHit, RequestSubmitted, RequestWaiting
from tests.audit.builders import accepted, admitted, finished, submitted

HIT = LimitHit(scope="tenant", subject="", kind="concurrency", period="", limit=1, used=1, wanted=1)


class Kept(MemoryBroker):
    def __init__(self) -> None:
        super().__init__(SystemClock())

    def write(self, record: object) -> Partition:
        return self.place(outgoing(record, headers_of(record)))  # type: ignore[arg-type]

    def place(self, record: Outgoing) -> Partition:
        return Partition(record.topic, self.append(record)[0])

    def passed(self, group: str, partition: Partition, offset: int) -> list[str]:
        outputs = Outputs(raw for records in self.logs.values() for raw in records)
        return [violation.ids[0] for violation in passed_over(self.logs, {(group, partition): offset}, outputs)]


def test_an_offset_before_its_record_is_done_is_told_and_one_behind_its_output_is_not() -> None:
    broker = Kept()
    partition = broker.write(submitted("r1"))

    assert broker.passed("ingest", partition, 0) == []
    assert broker.passed("ingest", partition, 1) == ["r1"]
    broker.write(accepted("r1"))
    assert broker.passed("ingest", partition, 1) == []


def test_each_step_needs_its_own_output_or_the_requests_end() -> None:
    broker = Kept()
    broker.write(submitted("r1"))
    partition = broker.write(accepted("r1"))

    assert broker.passed("cost-meter", partition, 1) == ["r1"]
    broker.write(finished("r1", cost=0))
    assert broker.passed("cost-meter", partition, 1) == []
    assert broker.passed("embedder", broker.write(admitted("r1")), 1) == []


def test_a_request_that_waits_is_an_output_and_what_it_waits_as_needs_one_of_its_own() -> None:
    def waiting(round_: int) -> RequestWaiting:
        return RequestWaiting(request=submitted("r1"), fingerprint="f", round=round_, until_ms=0, then=(), limit_hit=HIT)

    broker = Kept()
    accepted_in = broker.write(accepted("r1"))
    partition = broker.write(waiting(2))

    assert broker.passed("cost-meter", accepted_in, 1) == []
    assert broker.passed("cost-meter", partition, 1) == ["r1"]
    broker.write(waiting(4))
    assert broker.passed("cost-meter", partition, 1) == []
    assert broker.passed("cost-meter", partition, 2) == ["r1"]
    broker.write(admitted("r1"))
    assert broker.passed("cost-meter", partition, 2) == []


def test_bytes_without_a_name_need_a_dead_letter() -> None:
    broker = Kept()
    partition = broker.place(Outgoing(topic="request-submitted", key=b"acme/x", value=b"nothing"))

    assert broker.passed("ingest", partition, 1) == [f"request-submitted/{partition.number}/0"]
    broker.write(
        DeadLetter(
            service="ingest",
            topic="request-submitted",
            partition=partition.number,
            offset=0,
            timestamp_ms=0,
            key=None,
            value=b"nothing",
            reason="unreadable",
            detail="",
            failed_at_ms=0,
        )
    )
    assert broker.passed("ingest", partition, 1) == []


def test_what_a_group_has_no_output_for_is_passed() -> None:
    broker = Kept()

    assert broker.passed("cost-meter", broker.write(finished("r1", cost=0)), 1) == []
    assert isinstance(submitted("r1"), RequestSubmitted)
