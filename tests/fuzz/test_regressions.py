"""What went wrong and is too large for a file: each test is named after what happened once."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from daytwo.broker import Raw, outgoing
from daytwo.codec import HEADER_BYTES, decode, encode
from daytwo.errors import UnreadableError
from daytwo.flow import Output
from daytwo.metrics import Metrics
from daytwo.records import DeadLetter, Message, RequestFinished, RequestSubmitted
from daytwo.topic import Topic
from daytwo.topics import ATTEMPT_FINISHED, REQUEST_SUBMITTED, TOPICS
from services.inference_router import booking
from services.inference_router.ports import Reply
from services.ingest.service import service
from services.ingest.settings import Settings
from tests.fuzz.corpus import REQUESTS
from tests.fuzz.fates import KeepingSender, NotingWorker, nobody
from tests.fuzz.mutation import number
from tests.fuzz.submissions import crowded
from tests.fuzz.targets.answers import completion
from tests.inference_router.builders import NOON, grounded, quote, started
from tests.ingest.builders import NOW_MS, LineSplitter, StoppedClock

MIB = 1 << 20


async def handled(value: bytes, headers: dict[str, bytes] | None = None) -> list[Output]:
    """What ingest makes of a request's bytes; fails if it is no fate that a record may have."""
    outputs: list[Output] = []

    class Worker(NotingWorker):
        async def send(self, records: Sequence[Output]) -> None:
            await super().send(records)
            outputs.extend(records)

    worker = Worker(KeepingSender(), StoppedClock(), random.Random(0), Metrics(), nobody())
    raw = Raw(topic=REQUEST_SUBMITTED.name, partition=0, offset=0, timestamp_ms=NOW_MS, key=b"open/s", value=value, headers=headers or {})
    await worker.one(service(Settings(), LineSplitter()).inputs[0], raw)
    assert worker.findings == []
    return outputs


@contextmanager
def allocating_at_most(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [450_000, 6_000_000])
async def test_one_broken_byte_in_a_long_text_was_quoted_with_all_the_others_and_what_did_not_fit_stopped_ingest_for_good(
    size: int,
) -> None:
    text = Message(role="user", content="\u00e4" * size)
    value = bytearray(encode(REQUEST_SUBMITTED, RequestSubmitted(request_id="r", tenant="open", messages=(text,))))
    value[400_000] = 0xFF
    outputs = await handled(bytes(value), {"request-id": b"r"})
    result = outputs[-1]
    assert isinstance(result, RequestFinished)
    assert (result.request_id, result.outcome) == ("r", "refused")
    assert len(result.detail) < 400
    for letter in outputs[:-1]:
        assert isinstance(letter, DeadLetter)
        assert (letter.value, letter.reason, len(letter.detail) < 400) == (bytes(value), "unreadable", True)


async def test_a_record_larger_than_any_dead_letter_stopped_ingest_for_good() -> None:
    [letter] = await handled(b"\xff" * (30 * MIB))
    assert isinstance(letter, DeadLetter)
    assert (letter.value, letter.offset, letter.tenant) == (None, 0, "open")
    assert "31457286 bytes are too many for a dead letter" in letter.detail


async def test_sixteen_megabytes_of_the_smallest_messages_took_two_gigabytes_and_half_a_minute() -> None:
    value = crowded(15 * MIB)
    began = time.process_time()
    [result] = await handled(value)
    assert time.process_time() - began < 2
    assert isinstance(result, RequestFinished)
    assert (result.request_id, result.tenant, result.reason) == ("r-1", "open", "too_large")


async def test_what_is_too_large_to_be_read_and_has_no_head_is_a_dead_letter() -> None:
    [letter] = await handled(encode(REQUEST_SUBMITTED, REQUESTS[0])[:HEADER_BYTES] + b"\xff" * (2 * MIB))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "unreadable"


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
def test_a_count_of_two_to_the_sixtieth_allocates_nothing(topic: Topic[Any], strict: bool) -> None:
    head = b"\0" + topic.schema_id.to_bytes(4, "big")
    bombs = [head + bytes(zeros) + number(count) + bytes(64) for zeros in range(40) for count in (2**60, -(2**60), 2**31 - 1)]
    with allocating_at_most(4 * MIB):
        for bomb in bombs:
            with suppress(UnreadableError):
                decode(topic, bomb, strict=strict)


def test_a_finish_reason_of_wide_characters_was_paid_and_did_not_fit_the_log() -> None:
    reason = "\U0001f4a3" * 500_000
    choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": reason}
    reply = Reply(status=200, body=completion(choices=[choice]), retry_after=None)
    booked = booking.book(grounded(), quote(), reply, NOON)
    assert (booked.outcome, booked.reason) == ("unknown", "answer_too_large")
    ended = outgoing(booking.finished(started(), booked, latency_ms=1.0, now_ms=NOON))
    assert len(ended.value or b"") < ATTEMPT_FINISHED.max_bytes
