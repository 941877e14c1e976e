"""What becomes of a submitted request, through the service's handler."""

from __future__ import annotations

from typing import Any

import pytest

from daytwo.codec import encode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import Message, RequestAccepted, RequestFinished, RequestSubmitted
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER
from daytwo.topics import REQUEST_ACCEPTED, REQUEST_FINISHED, REQUEST_SUBMITTED
from services.ingest.settings import Settings
from tests.ingest.builders import NOW_MS, SIGNING, Ingest, context, request, signed, tenant


async def accepted(ingest: Ingest, record: RequestSubmitted, *, arrived_ms: int = NOW_MS, now_ms: int = NOW_MS) -> RequestAccepted:
    [output] = await ingest.submit(record, arrived_ms=arrived_ms, now_ms=now_ms)
    assert isinstance(output, RequestAccepted), output
    return output


async def ended(
    ingest: Ingest, record: RequestSubmitted, headers: dict[str, bytes] | None = None, *, arrived_ms: int = NOW_MS
) -> RequestFinished:
    [output] = await ingest.submit(record, headers, arrived_ms=arrived_ms)
    assert isinstance(output, RequestFinished), output
    return output


async def test_a_valid_request_goes_on_with_fingerprint_deadline_and_time_spent() -> None:
    output = await accepted(Ingest(), request(session="s"), arrived_ms=NOW_MS - 20)
    assert output.request == request(session="s", deadline_ms=NOW_MS - 20 + 60_000)
    assert len(output.fingerprint) == 32
    assert output.accepted_at_ms == NOW_MS
    assert [(step.step, step.queued_ms) for step in output.steps] == [("ingest", 20.0)]


async def test_the_same_request_again_gives_the_same_bytes() -> None:
    first, again = await accepted(Ingest(), request()), await accepted(Ingest(), request())
    assert encode(REQUEST_ACCEPTED, first) == encode(REQUEST_ACCEPTED, again)


async def test_a_request_redelivered_later_has_the_deadline_and_fingerprint_of_the_first_time() -> None:
    first = await accepted(Ingest(), request(), arrived_ms=NOW_MS, now_ms=NOW_MS)
    again = await accepted(Ingest(), request(), arrived_ms=NOW_MS, now_ms=NOW_MS + 30_000)
    assert (first.request, first.fingerprint) == (again.request, again.fingerprint)


async def test_a_large_request_is_judged_as_a_small_one() -> None:
    large = request(messages=(Message(role="user", content="why? " * 20_000),))
    assert (await accepted(Ingest(), large)).request.messages == large.messages


async def test_a_request_larger_than_the_limit_is_refused_before_anything_else_is_looked_at() -> None:
    ingest = Ingest(settings=Settings(max_request_bytes=100))
    result = await ended(ingest, request(tenant="nobody", messages=(Message(role="user", content="x" * 200),)))
    assert (result.outcome, result.reason, result.request_id) == ("refused", "too_large", "r-1")
    assert "at most 100" in result.detail


async def test_the_tenant_is_checked_before_the_shape() -> None:
    assert (await ended(Ingest(), request(tenant="nobody", max_tokens=-1))).reason == "unknown_tenant"


async def test_an_inactive_tenant_is_refused() -> None:
    result = await ended(Ingest(tenant(active=False)), request())
    assert (result.outcome, result.reason) == ("refused", "inactive_tenant")


async def test_a_malformed_request_is_refused_with_the_field_named_and_its_labels_handed_back() -> None:
    result = await ended(Ingest(), request(max_tokens=-1, metadata={"a": "b"}, user="u"))
    assert (result.outcome, result.reason, result.detail) == ("refused", "invalid_request", "max_tokens: -1; 1 to 1000000")
    assert (result.metadata, result.user, result.steps[0].step) == ({"a": "b"}, "u", "ingest")


async def test_the_refusal_of_a_monstrous_identity_is_itself_a_proper_record() -> None:
    monster = request(
        request_id="r\x00" + "x" * 1_000_000, session="s" * 1_000_000, metadata={"k": "v" * 1_000_000}, traceparent="t" * 1_000_000
    )
    result = await ended(Ingest(settings=Settings(max_request_bytes=8 << 20)), monster)
    assert result.request_id == "r\ufffd" + "x" * 126
    assert (result.session, result.metadata, result.traceparent) == ("s" * 128, {}, "")
    assert result.detail == "request_id: control character U+0000"
    assert len(encode(REQUEST_FINISHED, result)) < 2000


@pytest.mark.parametrize("headers", [{}, {KEY_HEADER: b"k1"}, {SIGNATURE_HEADER: b"0" * 64}, {KEY_HEADER: b"", SIGNATURE_HEADER: b""}])
async def test_an_unsigned_request_of_a_signing_tenant_is_refused(headers: dict[str, bytes]) -> None:
    result = await ended(Ingest(SIGNING), request(max_tokens=-1), headers)
    assert (result.outcome, result.reason) == ("refused", "missing_signature")


async def test_a_wrongly_signed_request_is_refused_before_its_shape_is_looked_at() -> None:
    result = await ended(Ingest(SIGNING), request(max_tokens=-1), signed(b"other bytes"))
    assert (result.outcome, result.reason) == ("refused", "bad_signature")


async def test_a_signed_request_of_a_signing_tenant_goes_on() -> None:
    assert (await accepted(Ingest(SIGNING), request())).request.tenant == "acme"


DEADLINES: list[tuple[str, int, int]] = [
    ("none: the default of the tenant", 0, 60_000),
    ("one of its own", NOW_MS + 5_000, 5_000),
    ("beyond the longest: the longest", NOW_MS + 10**9, 3_600_000),
    ("the end of time", (1 << 63) - 1, 3_600_000),
]


@pytest.mark.parametrize(("asked_ms", "expected_ms"), [pytest.param(asked, expected, id=name) for name, asked, expected in DEADLINES])
async def test_a_request_may_ask_for_a_deadline(asked_ms: int, expected_ms: int) -> None:
    assert (await accepted(Ingest(), request(deadline_ms=asked_ms))).request.deadline_ms == NOW_MS + expected_ms


async def test_the_longest_time_bounds_the_default_too() -> None:
    output = await accepted(Ingest(tenant(default_timeout_ms=90_000, max_timeout_ms=1_000)), request())
    assert output.request.deadline_ms == NOW_MS + 1_000


@pytest.mark.parametrize("asked_ms", [-(1 << 63), -1, 1, NOW_MS - 1, NOW_MS])
async def test_a_deadline_in_the_past_expires(asked_ms: int) -> None:
    result = await ended(Ingest(), request(deadline_ms=asked_ms))
    assert (result.outcome, result.reason) == ("expired", "deadline_in_past")


async def test_a_request_that_waited_too_long_at_the_door_expires() -> None:
    result = await ended(Ingest(), request(), arrived_ms=NOW_MS - 60_000)
    assert (result.outcome, result.reason) == ("expired", "deadline_exceeded")


async def test_a_producer_whose_clock_runs_ahead_gets_no_more_time() -> None:
    assert (await accepted(Ingest(), request(), arrived_ms=NOW_MS + 10**9)).request.deadline_ms == NOW_MS + 60_000


ENDINGS: list[tuple[Any, str]] = [
    (UnreadableError("unreadable", "3 bytes behind the record"), "refused"),
    (RetryableError("internal_error", "a bug"), "failed"),
]


@pytest.mark.parametrize(("error", "outcome"), ENDINGS)
def test_a_request_that_cannot_be_handled_ends_with_its_reason(error: Any, outcome: str) -> None:
    [result] = Ingest().input(REQUEST_SUBMITTED.name).ending(request(request_id="\x01"), context(b""), error)
    assert isinstance(result, RequestFinished)
    assert (result.request_id, result.outcome, result.reason, result.detail) == ("\ufffd", outcome, error.reason, error.detail)


async def test_a_refusal_names_the_bytes_it_refuses_and_claims_no_request() -> None:
    result = await ended(Ingest(), request(max_tokens=0))
    assert (len(result.submission), result.fingerprint) == (32, "")
    assert (await ended(Ingest(), request(max_tokens=-1))).submission != result.submission


async def test_a_request_that_is_late_at_the_door_ends_as_the_request_it_is() -> None:
    result = await ended(Ingest(), request(deadline_ms=NOW_MS - 1))
    assert result.fingerprint == (await accepted(Ingest(), request())).fingerprint
