"""What is booked for what a provider did."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.inference_router.booking import book
from services.inference_router.ports import Reply, Silence
from tests.inference_router.builders import BOUND, NOON, body, grounded, quote, status


def test_usage_above_the_bound_is_booked_as_billed() -> None:
    usage = {"prompt_tokens": 50_000, "completion_tokens": 9_000}
    booking = book(grounded(), quote(), Reply(status=200, body=body(usage=usage)), NOON)
    assert (booking.outcome, booking.cost_nano) == ("succeeded", 50_000 + 18_000)


def test_what_was_never_sent_and_what_a_status_refused_costs_nothing() -> None:
    for end in (Silence(reason="connection", sent=False), status(429), status(500), status(400), status(302)):
        booking = book(grounded(), quote(), end, NOON)
        assert (booking.outcome, booking.cost_nano, booking.usage.output_tokens) == ("failed", 0, 0)


def test_what_was_sent_and_not_answered_whole_counts_in_full() -> None:
    for end in (Silence(reason="cut", sent=True), Reply(status=200, body=b"{"), Reply(status=204, body=b"")):
        booking = book(grounded(), quote(), end, NOON)
        assert (booking.outcome, booking.cost_nano) == ("unknown", BOUND)
        assert (booking.usage.input_tokens, booking.usage.output_tokens) == (1000, 100)


@given(st.integers(0, 1000), st.integers(0, 100), st.integers(0, 1000))
def test_a_usage_within_the_bound_never_costs_more_than_was_reserved(read: int, written: int, cached: int) -> None:
    usage = {"prompt_tokens": read, "completion_tokens": written, "prompt_tokens_details": {"cached_tokens": cached}}
    booking = book(grounded(), quote(), Reply(status=200, body=body(usage=usage)), NOON)
    assert 0 <= booking.cost_nano <= BOUND
