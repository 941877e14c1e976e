"""What is taken from the road."""

from __future__ import annotations

from functools import partial

from daytwo.records import AttemptSummary, RequestFinished, Usage, UsageEntry
from services.usage_windows.entries import FirstOfEach, by_tenant, of_admitted, of_finished, of_late
from tests.usage_windows.builders import NOON, admitted, entry, finished


def test_what_may_only_be_answered_from_the_cache_is_no_use() -> None:
    assert of_admitted(admitted(cache_only=True).to_avro(), 1, NOON) is None


def test_an_admitted_request_is_counted_for_all_it_names() -> None:
    made = of_admitted(admitted(user="ann", workflow="w", session="s", agent="a").to_avro(), 7, NOON)
    assert made is not None
    assert (made.offset, made.at_ms, made.user, made.workflow, made.session, made.agent) == (7, NOON, "ann", "w", "s", "a")


def test_what_was_never_accepted_is_nobodys_use() -> None:
    """Anybody may write a request in a tenant's name; without a signature it ends without a fingerprint."""
    assert of_finished(finished(fingerprint="").to_avro(), 1, NOON) is None


def test_an_end_says_what_was_used_and_how_it_ended() -> None:
    made = of_finished(finished(outcome="refused", served_by="cache", model="m", cost_nano=5, saved_nano=6).to_avro(), 1, NOON)
    assert made is not None
    assert (made.refused, made.cached, made.model, made.cost_nano, made.saved_nano) == (True, True, "m", 5, 6)
    assert made.usage == Usage(input_tokens=7, output_tokens=3)


def test_of_a_request_the_first_record_counts_and_it_is_the_first_however_often_it_is_read() -> None:
    first = FirstOfEach(10)
    assert [first.is_first("acme", "r-1", offset) for offset in (3, 5, 3, 5)] == [True, False, True, False]
    assert first.is_first("other", "r-1", 9)


def test_only_so_many_requests_are_remembered() -> None:
    first = FirstOfEach(2)
    assert all(first.is_first("acme", f"r-{offset}", offset) for offset in range(3))
    assert first.is_first("acme", "r-0", 3)
    assert not first.is_first("acme", "r-2", 4)


def test_there_is_one_record_of_each_tenant_and_partition_in_the_order_of_the_log() -> None:
    entries = [("a", 0, entry(1)), ("b", 0, entry(2)), ("a", 1, entry(1)), ("a", 0, entry(3))]
    records = list(by_tenant("request-finished", entries))
    assert [(row.tenant, row.partition, [one.offset for one in row.entries]) for row in records] == [
        ("a", 0, [1, 3]),
        ("b", 0, [2]),
        ("a", 1, [1]),
    ]


def test_an_attempt_that_only_a_later_result_lists_is_counted_once_and_the_request_not_again() -> None:
    seen = FirstOfEach(10)
    first = finished(attempts=(bought("a-1", 10),))
    later = finished(attempts=(bought("a-1", 10), bought("a-2", 30)), cost_nano=9, usage=Usage(input_tokens=40), model="m")

    def late(record: RequestFinished, offset: int) -> UsageEntry | None:
        seen.is_first("acme", "r-1", offset, [attempt.attempt_id for attempt in record.attempts])
        return of_late(record.to_avro(), offset, NOON, partial(seen.is_first_to_list, "acme", "r-1", offset))

    assert seen.is_first("acme", "r-1", 3, ["a-1"])
    found = [late(later, 5), late(later, 6), late(later, 5), late(first, 4)]

    assert found[1] is None
    assert found[3] is None
    assert found[0] == found[2] == entry(5, tokens=30, late=True, cost_nano=5, model="m"), "read twice it is what it was"


def bought(name: str, tokens: int) -> AttemptSummary:
    return AttemptSummary(attempt_id=name, deployment="d", outcome="succeeded", latency_ms=1.0, cost_nano=5, tokens=tokens)
