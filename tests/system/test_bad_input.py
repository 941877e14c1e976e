"""Each kind of bad input ends with a reason a program can match, and the next request is served."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from daytwo.broker import Outgoing, outgoing
from daytwo.records import DocumentSubmitted, Grounding, Message, RequestFinished, RequestSubmitted, Tool
from daytwo.signing import sign
from tests.libs.builders import until
from tests.system.conftest import KEY
from tests.system.road import request, road

pytestmark = [pytest.mark.stack, pytest.mark.system]

DEEP = "[" * 1_000_000 + "]" * 1_000_000


@pytest.mark.parametrize("value", [b"", b"garbage", b"\0\0\0\0\x01", b"\0\0\0\xff\xffrest", b"\0\0\0\0\x02" + b"\x01" * 40, None])
async def test_bytes_that_are_no_request_are_a_dead_letter_and_the_next_is_served(daytwo: dict[str, Any], value: bytes | None) -> None:
    async with road(daytwo) as it:
        ((partition, offset),) = await it.send(Outgoing(topic="request-submitted", key=b"plain/garbage", value=value))
        letter = await it.dead_letter(partition, offset)
        served = await it.answer(request(session="garbage"))

    assert (letter.reason, letter.value, letter.service) == ("unreadable", value, "ingest")
    assert served.outcome == "answered"


@pytest.mark.parametrize(
    ("wrong", "outcome", "reason"),
    [
        (request("nobody"), "refused", "unknown_tenant"),
        (request("off"), "refused", "inactive_tenant"),
        (request(messages=()), "refused", "invalid_request"),
        (request(messages=(Message(role="wizard", content="x"),)), "refused", "invalid_request"),
        (request(text="bell \x07 and null \x00"), "refused", "invalid_request"),
        (request(max_tokens=-5), "refused", "invalid_request"),
        (request(max_tokens=0), "refused", "invalid_request"),
        (request(temperature=float("nan")), "refused", "invalid_request"),
        (request(temperature=float("inf")), "refused", "invalid_request"),
        (request(tools=(Tool(name="deep", parameters='{"a":' + DEEP[:400_000] + "}"),)), "refused", "invalid_request"),
        (request(tools=(Tool(name="deep", parameters=DEEP),)), "refused", "too_large"),
        (request(text="x" * 10_000_000), "refused", "too_large"),
        (request(deadline_ms=1), "expired", "deadline_in_past"),
        (request(request_id="spaces are not allowed"), "refused", "invalid_request"),
        (request(grounding=Grounding(collection="docs", top_k=-1)), "refused", "invalid_request"),
        (request(model="no-such-model"), "refused", "unknown_model"),
        (request(model="unpriced"), "refused", "unpriced_model"),
        (request("signed"), "refused", "missing_signature"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_request_that_cannot_be_served_ends_once_with_its_reason(
    daytwo: dict[str, Any], wrong: RequestSubmitted, outcome: str, reason: str
) -> None:
    async with road(daytwo) as it:
        result = await it.answer(replace(wrong, session="bad"))
        served = await it.answer(request(session="bad"))

    assert (result.outcome, result.reason) == (outcome, reason), result.detail
    assert len(it.results[wrong.request_id]) == 1
    assert served.outcome == "answered"


async def test_a_signature_lets_in_and_a_wrong_one_does_not(daytwo: dict[str, Any]) -> None:
    async with road(daytwo) as it:
        good, bad = request("signed"), request("signed")
        value = outgoing(good).value or b""
        signed = {"daytwo-key": KEY.id.encode(), "daytwo-signature": sign(KEY.secret, value).encode()}
        answered = await it.answer(good, signed)
        refused = await it.answer(bad, signed)  # the signature of other bytes

    assert answered.outcome == "answered"
    assert (refused.outcome, refused.reason) == ("refused", "bad_signature")


def said(result: RequestFinished) -> Any:
    """A result without what tells of the way it came."""
    return replace(result, steps=(), finished_at_ms=0)


async def test_the_same_id_again_has_the_same_result_and_is_paid_once(daytwo: dict[str, Any]) -> None:
    async with road(daytwo) as it:
        once = request()
        first = await it.answer(once)
        await it.submit(once)  # not settled yet: it travels again, and is answered from the journal
        await until(lambda: len(it.results[once.request_id]) == 2)
        await asyncio.sleep(1)
        await it.submit(once)  # settled: its result is read from the log
        await until(lambda: len(it.results[once.request_id]) == 3)

    _, again, later = it.results[once.request_id]
    assert said(again) == said(first)
    assert later == first


async def test_a_used_id_with_other_content_is_refused_and_keeps_its_first_result(daytwo: dict[str, Any]) -> None:
    async with road(daytwo) as it:
        once = request()
        first = await it.answer(once)
        await it.submit(replace(once, messages=(Message(role="user", content="Something else"),)))
        await until(lambda: any(letter.request_id == once.request_id for letter in it.dead_letters))

    letter = next(letter for letter in it.dead_letters if letter.request_id == once.request_id)
    assert letter.reason == "id_reused"
    assert it.results[once.request_id][0] == first


async def test_binary_junk_is_no_document(daytwo: dict[str, Any]) -> None:
    junk = DocumentSubmitted(
        document_id=f"d-{uuid.uuid4().hex}", tenant="plain", collection="docs", source="junk", content=bytes(range(256)) * 40
    )
    async with road(daytwo) as it:
        await it.send(outgoing(junk))
        await until(lambda: junk.document_id in it.documents)

    assert (it.documents[junk.document_id].outcome, it.documents[junk.document_id].reason) == ("refused", "invalid_document")
