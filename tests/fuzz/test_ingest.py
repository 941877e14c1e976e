"""Twenty thousand hostile records through the real ingest: each has a fate that it may have, and memory stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random

import pytest

from daytwo.broker import Raw
from daytwo.records import DeadLetter, RequestFinished
from tests.fuzz.corpus import REQUESTS
from tests.fuzz.fates import Finding, fate_of
from tests.fuzz.ingest import Account, flood, report
from tests.fuzz.submissions import submission, whole

RECORDS = 20_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def test_twenty_thousand_hostile_records_are_all_accounted_for() -> None:
    account = await flood(seed=1, numbers=range(RECORDS))

    assert account.findings == [], "\n".join(report(account, 1))
    assert account.records == sum(account.fates.values()) == RECORDS
    assert account.fates["accepted"] > 0
    assert account.fates["split"] > 0
    assert account.fates["dead letter: unreadable"] > 0
    assert account.memory[-1] < 1000


def test_a_record_of_a_run_can_be_made_again() -> None:
    assert [submission(7, number) for number in range(50)] == [submission(7, number) for number in range(50)]
    assert submission(7, 1) != submission(8, 1)


def test_growing_memory_would_be_told() -> None:
    assert Account(memory=[50, 200, 210, 190]).grown() == 10
    assert Account(memory=[50, 200, 300, 400]).grown() == 200


def raw() -> Raw:
    message = whole(REQUESTS[0], Random(0))
    return Raw(
        topic=message.topic, partition=1, offset=2, timestamp_ms=3, key=message.key, value=b"garbage", headers={"request-id": b"r-1"}
    )


def letter(**fields: object) -> DeadLetter:
    about = raw()
    given = {"topic": about.topic, "partition": 1, "offset": 2, "timestamp_ms": 3, "key": about.key, "value": about.value}
    return DeadLetter(**{**given, "headers": about.headers, "service": "ingest", "reason": "unreadable", "failed_at_ms": 4, **fields})  # type: ignore[arg-type]


def refused(reason: str = "unreadable") -> RequestFinished:
    return RequestFinished(request_id="r-1", tenant="open", outcome="refused", reason=reason, finished_at_ms=1)


def test_a_dead_letter_with_its_result_is_a_fate() -> None:
    assert fate_of(raw(), [letter(), refused()]) == "dead letter: unreadable, with a result"


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ([], "nothing became of it"),
        ([refused(), refused()], "2 results"),
        ([letter()], "has no result"),
        ([letter(), letter()], "2 dead letters"),
        ([letter(value=b"other"), refused()], "not the record"),
        ([letter(reason="internal_error"), refused()], "internal_error"),
        ([refused("internal_error")], "internal_error"),
        ([refused("a reason nobody knows")], "nobody knows"),
        ([letter(), refused("too_large")], "beside it"),
    ],
)
def test_what_must_not_become_of_a_record_is_a_finding(outputs: list[DeadLetter | RequestFinished], says: str) -> None:
    with pytest.raises(Finding, match=says):
        fate_of(raw(), outputs)
