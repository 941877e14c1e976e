"""What the journal remembers, for how long, and how much memory that takes."""

from __future__ import annotations

from daytwo.records import Message
from services.inference_router.journal import Journal, attempt_id
from tests.inference_router.builders import NOON, ended, started


def test_an_attempts_id_follows_from_tenant_request_number_and_router_and_nothing_else() -> None:
    assert attempt_id("acme", "r-1", 1, "router-0") == attempt_id("acme", "r-1", 1, "router-0")
    others = [("acme", "r-1", 1, "a"), ("acme", "r-1", 2, "a"), ("acme", "r-2", 1, "a"), ("zen", "r-1", 1, "a"), ("acme", "r-1", 1, "b")]
    assert len({attempt_id(*each) for each in others}) == 5


def test_a_call_that_goes_on_at_another_router_is_not_lost_until_its_time_is_over() -> None:
    journal = Journal(10**6)
    journal.load(0, started(1))
    journal.load(0, started(1, continues_until_ms=NOON + 1000))
    attempts = journal.peek(0, "acme", "r-1")
    assert (attempts.lost(NOON), len(attempts.going_on(NOON))) == ([], 1)
    assert (len(attempts.lost(NOON + 1000)), attempts.going_on(NOON + 1000)) == (1, [])
    journal.load(0, ended(1))
    assert (attempts.lost(NOON), attempts.going_on(NOON)) == ([], [])


def test_a_start_is_lost_until_its_end_is_there_in_whatever_order_they_are_read() -> None:
    journal = Journal(10**6)
    journal.load(0, started(1))
    journal.load(0, ended(2))
    attempts = journal.peek(0, "acme", "r-1")
    assert [record.number for record in attempts.lost()] == [1]
    assert attempts.next_number() == 3
    journal.load(0, ended(1))
    journal.load(0, started(2))
    assert attempts.lost() == []
    assert [record.number for record in attempts.ended()] == [1, 2]


def test_requests_of_the_same_id_of_another_tenant_or_partition_are_others() -> None:
    journal = Journal(10**6)
    journal.load(0, ended(1))
    assert journal.peek(0, "zen", "r-1").ended() == []
    assert journal.peek(1, "acme", "r-1").ended() == []


def test_memory_is_bounded_by_bytes_and_the_oldest_goes_first() -> None:
    journal = Journal(100_000)
    for number in range(200):
        journal.load(0, ended(request_id=f"r-{number}", message=Message(role="assistant", content="x" * 5000)))
    assert journal.bytes <= 100_000
    assert 10 < len(journal) < 20
    assert journal.peek(0, "acme", "r-0").ended() == []
    assert len(journal.peek(0, "acme", "r-199").ended()) == 1


def test_a_request_that_is_being_handled_is_never_dropped() -> None:
    journal = Journal(10_000)
    attempts = journal.open(0, "acme", "r-open")
    journal.start(attempts, started(request_id="r-open"))
    for number in range(200):
        journal.load(0, ended(request_id=f"r-{number}"))
    assert journal.peek(0, "acme", "r-open") is attempts
    journal.close(attempts)
    for number in range(200):
        journal.load(0, ended(request_id=f"r-{number}"))
    assert journal.peek(0, "acme", "r-open") is not attempts


def test_a_released_partition_is_forgotten_but_for_what_is_being_handled() -> None:
    journal = Journal(10**6)
    journal.load(0, ended(request_id="r-1"))
    journal.load(1, ended(request_id="r-2"))
    attempts = journal.open(0, "acme", "r-3")
    journal.release(0)
    assert journal.peek(0, "acme", "r-1").ended() == []
    assert len(journal.peek(1, "acme", "r-2").ended()) == 1
    assert journal.peek(0, "acme", "r-3") is attempts
    journal.close(attempts)
    journal.release(0)
    journal.release(1)
    assert (len(journal), journal.bytes) == (0, 0)
