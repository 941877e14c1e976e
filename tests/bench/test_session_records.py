from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.codec import decode, encode
from daytwo.records import Outcome, RequestFinished
from daytwo.topics import REQUEST_FINISHED, REQUEST_SUBMITTED
from deploy.bench.session_records import Asker, outcome_and_reason
from services.ingest.validation import request_problem


@given(st.integers(0, 9_999_999), st.integers(1, 9_999), st.sampled_from([0, 1_795_000_000_000, 1_900_000_000_001]))
def test_what_a_session_asks_is_a_valid_record_with_its_numbers_in_it(session: int, turn: int, deadline_ms: int) -> None:
    asker = Asker("abc123", "acme")

    asked = asker.ask(session, turn, deadline_ms=deadline_ms)

    request = decode(REQUEST_SUBMITTED, asked.value, strict=True)
    assert request_problem(request, max_messages=10) is None
    assert request.request_id.encode() == asked.request_id
    assert REQUEST_SUBMITTED.key(request).encode() == asked.key
    assert (request.messages[-1].content or "").encode() == asked.question
    assert request.deadline_ms == deadline_ms
    assert asker.place(asked.request_id) == (session, turn)


def test_no_two_questions_are_equal() -> None:
    asker = Asker("abc123", "acme")

    assert len({asker.ask(session, turn).question for session in range(50) for turn in range(1, 50)}) == 50 * 49


def test_a_result_of_another_run_is_nobodys() -> None:
    assert Asker("abc123", "acme").place(b"abc124-0000001-0001") is None


@pytest.mark.parametrize("outcome", get_args(Outcome))
@given(texts=st.lists(st.text(max_size=200), min_size=8, max_size=8), reason=st.text(max_size=80))
def test_outcome_and_reason_are_what_the_codec_reads(outcome: Outcome, texts: list[str], reason: str) -> None:
    names = ("request_id", "tenant", "user", "session", "workflow", "step", "agent", "fingerprint")
    fields: dict[str, Any] = dict(zip(names, texts, strict=True))
    result = RequestFinished(**fields, outcome=outcome, reason=reason, finished_at_ms=1)

    assert outcome_and_reason(encode(REQUEST_FINISHED, result)) == (outcome, reason)
