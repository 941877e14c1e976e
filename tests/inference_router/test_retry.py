"""What ends a request, what is tried elsewhere, what again, and when."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference_router.retry import RetryPolicy, health, retry_after_ms, verdict
from tests.inference_router.builders import NOON, ended


def failed(**fields: Any) -> Any:
    return ended(**{"outcome": "failed", "message": None, "status": 0, "cost_nano": 0, **fields})


@pytest.mark.parametrize(
    ("code", "meaning", "says"),
    [
        (302, "elsewhere", "ill"),
        (400, "refused", "well"),
        (401, "elsewhere", "ill"),
        (403, "elsewhere", "ill"),
        (404, "elsewhere", "ill"),
        (408, "again", "ill"),
        (409, "again", "well"),
        (413, "refused", "well"),
        (422, "refused", "well"),
        (429, "again", "unclear"),
        (500, "again", "ill"),
        (503, "again", "ill"),
    ],
)
def test_what_a_status_means_for_the_request_and_says_of_the_deployment(code: int, meaning: str, says: str) -> None:
    attempt = failed(status=code, reason=f"status_{code}")
    assert (verdict(attempt), health(attempt)) == (meaning, says)


@pytest.mark.parametrize(
    ("reason", "meaning", "says"),
    [
        ("connection", "again", "ill"),
        ("timeout", "again", "ill"),
        ("malformed_json", "again", "ill"),
        ("no_api_key", "elsewhere", "ill"),
        ("deadline", "again", "unclear"),
        ("answer_too_large", "again", "unclear"),
        ("lost", "again", "unclear"),
    ],
)
def test_what_silence_means_for_the_request_and_says_of_the_deployment(reason: str, meaning: str, says: str) -> None:
    attempt = failed(outcome="unknown", reason=reason)
    assert (verdict(attempt), health(attempt)) == (meaning, says)


def test_an_answer_ends_the_request() -> None:
    assert (verdict(ended()), health(ended())) == ("answered", "well")


def test_a_429_without_a_word_keeps_callers_away_for_a_second_and_a_refusal_never_does() -> None:
    policy = RetryPolicy()
    assert policy.cool_down_after(failed(status=429)) == 1000
    assert policy.cool_down_after(failed(status=429, retry_after_ms=7000)) == 7000
    assert policy.cool_down_after(failed(status=503, retry_after_ms=5000)) == 5000
    assert policy.cool_down_after(failed(status=500)) is None
    assert policy.cool_down_after(failed(status=400, retry_after_ms=5000)) is None


@pytest.mark.parametrize(
    ("header", "milliseconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1e9", None),
        ("²", None),
        ("7", 7000),
        (" 0 ", 0),
        ("1.5", 1500),
        ("9" * 60, 10**12),
        ("9" * 70, None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30_000),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str | None, milliseconds: int | None) -> None:
    assert retry_after_ms(header, NOON) == milliseconds


@given(st.text(max_size=80))
def test_no_header_breaks_the_reading(header: str) -> None:
    wait = retry_after_ms(header, NOON)
    assert wait is None or wait >= 0


@given(st.integers(1, 10**6), st.integers())
def test_back_off_is_between_nothing_and_the_doubled_base_and_capped(tries: int, seed: int) -> None:
    ceiling = min(0.2 * 2 ** min(tries - 1, 32), 10.0)
    assert 0 <= RetryPolicy().back_off_s(tries, Random(seed)) <= ceiling
