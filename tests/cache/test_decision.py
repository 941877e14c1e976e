from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.records import CachePolicy, Grounding, Message, RequestGrounded, RequestMissed, StepTime, ToolCall
from daytwo.road import CacheUse, cache_use
from services.cache.decision import answered, match_of, missed, nearest, refused, servable
from services.cache.index import Entry, Neighbour
from services.cache.learning import another_may_lead, answer_id, draft_of, learned, may_be_learned
from tests.cache.builders import POLICY, START_MS, answer, embedded, failure, request, result, vector

NOW = START_MS + 1000
STEP = StepTime(step="cache", queued_ms=1.0, executing_ms=2.0)
CALL = ToolCall(id="c1", name="f", arguments="{}")


def neighbour(similarity: float, *, learned_at_ms: int = 0, expires_at_ms: int = NOW + 1) -> Neighbour:
    return Neighbour(Entry(f"{similarity}/{learned_at_ms}", "q", learned_at_ms, expires_at_ms, None, 0), similarity)


@pytest.mark.parametrize(
    ("mode", "policy", "cache_only", "use"),
    [
        ("use", POLICY, False, CacheUse(read=True, learn=True)),
        ("use", POLICY, True, CacheUse(read=True, learn=False)),
        ("refresh", POLICY, False, CacheUse(read=False, learn=True)),
        ("refresh", POLICY, True, CacheUse(read=False, learn=False)),
        ("off", POLICY, False, CacheUse(read=False, learn=False)),
        ("use", CachePolicy(enabled=False), False, CacheUse(read=False, learn=False)),
        ("use", CachePolicy(ttl_s=0), False, CacheUse(read=False, learn=False)),
        ("use", None, False, CacheUse(read=False, learn=False)),
    ],
)
def test_mode_tenant_and_budget_say_what_a_request_may_do(mode: Any, policy: CachePolicy | None, cache_only: bool, use: CacheUse) -> None:
    assert cache_use(request(cache=mode), policy, cache_only=cache_only) == use


def test_just_above_the_threshold_is_near_enough_and_just_below_is_not() -> None:
    assert nearest([neighbour(0.9001)], threshold=0.9, now_ms=NOW) is not None
    assert nearest([neighbour(0.8999)], threshold=0.9, now_ms=NOW) is None


def test_equal_vectors_reach_a_threshold_of_one_although_numbers_are_rounded() -> None:
    assert nearest([neighbour(0.9999996)], threshold=1.0, now_ms=NOW) is not None


def test_the_nearest_wins_and_of_equally_near_ones_the_newest() -> None:
    neighbours = [neighbour(0.95, learned_at_ms=9), neighbour(0.97, learned_at_ms=1), neighbour(0.97, learned_at_ms=3)]

    assert nearest(neighbours, threshold=0.9, now_ms=NOW) == neighbours[2]


def test_an_expired_neighbour_gives_way_to_one_farther_off() -> None:
    expired, alive = neighbour(0.99, expires_at_ms=NOW), neighbour(0.95)

    assert nearest([expired, alive], threshold=0.9, now_ms=NOW) == alive


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 5), st.integers(-2, 2))), st.floats(0, 1.5))
def test_nothing_expired_or_too_far_is_ever_chosen(given_: list[tuple[float, int, int]], threshold: float) -> None:
    neighbours = [neighbour(near, learned_at_ms=at, expires_at_ms=NOW + left) for near, at, left in given_]
    fit = [each for each in neighbours if each.similarity + 1e-6 >= threshold and each.entry.expires_at_ms > NOW]
    chosen = nearest(neighbours, threshold=threshold, now_ms=NOW)

    assert (chosen is None) == (not fit)
    assert chosen is None or (chosen in fit and chosen.similarity >= max(each.similarity for each in fit) - 1e-6)


def test_a_match_says_what_was_matched_how_near_and_how_old() -> None:
    known = answer()
    exact = match_of(known, known.question, 1.0, arrived_ms=START_MS + 1, now_ms=NOW)
    semantic = match_of(known, "another question", 0.93, arrived_ms=START_MS + 1, now_ms=NOW)

    assert (exact.kind, exact.answer_id, exact.similarity, exact.age_ms) == ("exact", known.answer_id, 1.0, 1000)
    assert (semantic.kind, semantic.similarity, semantic.question) == ("semantic", 0.93, "How do I reset my password?")


def test_an_equal_question_answered_after_this_one_arrived_was_in_flight_with_it() -> None:
    known = answer(request_id="leader")
    match = match_of(known, known.question, 1.0, arrived_ms=START_MS, now_ms=NOW)

    assert (match.kind, match.answer_id) == ("coalesced", "leader")


def test_a_cached_answer_costs_nothing_and_says_what_it_saved() -> None:
    record, known = embedded(request_id="r2", session="s", metadata={"k": "v"}), answer()
    end = answered(record, known, match_of(known, record.question, 1.0, arrived_ms=NOW, now_ms=NOW), now_ms=NOW, step=STEP)

    assert (end.outcome, end.reason, end.served_by, end.cost_nano, end.saved_nano) == ("answered", "ok", "cache", 0, 4_200)
    assert (end.usage.input_tokens, end.usage.output_tokens) == (0, 0)
    assert (end.message, end.finish_reason, end.deployment, end.model) == (known.message, "stop", "gpt", "gpt-4o-mini")
    assert (end.request_id, end.session, end.metadata, end.fingerprint, end.steps) == ("r2", "s", {"k": "v"}, "f" * 32, (STEP,))


def test_an_answer_of_another_tenant_or_past_its_time_does_not_leave() -> None:
    known = answer()

    assert servable(known, "acme", NOW)
    assert not servable(known, "globex", NOW)
    assert not servable(known, "acme", known.expires_at_ms)


def test_a_refusal_says_when_the_cap_renews() -> None:
    end = refused(embedded(cache_only=True), now_ms=NOW, step=STEP)

    assert (end.outcome, end.reason, end.retry_after_ms) == ("refused", "budget_exceeded", 4_000)
    assert refused(embedded(cache_only=True), now_ms=NOW + 90_000, step=STEP).retry_after_ms == 0
    assert refused(embedded(), now_ms=NOW, step=STEP).retry_after_ms is None


def test_a_miss_that_asks_for_passages_goes_to_the_retriever_with_all_that_came() -> None:
    record = embedded(near=vector(), grounding=Grounding(collection="manual"))
    gone_on = missed(record, step=STEP)

    assert isinstance(gone_on, RequestMissed)
    assert (gone_on.request, gone_on.admission, gone_on.question) == (record.request, record.admission, record.question)
    assert gone_on.vector == record.vector
    assert gone_on.steps == (STEP,)


def test_a_miss_that_asks_for_none_goes_straight_to_the_router() -> None:
    record = embedded(near=vector())
    gone_on = missed(record, step=STEP)

    assert isinstance(gone_on, RequestGrounded)
    assert (gone_on.request, gone_on.admission, gone_on.question, gone_on.passages) == (
        record.request,
        record.admission,
        record.question,
        (),
    )
    assert gone_on.steps == (STEP,)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"outcome": "answered_in_part"},
        {"outcome": "escalated"},
        {"served_by": "cache"},
        {"served_by": ""},
        {"finish_reason": "length"},
        {"finish_reason": "tool_calls"},
        {"finish_reason": "content_filter"},
        {"message": None},
        {"message": Message(role="assistant", content=None)},
        {"message": Message(role="assistant", content="  ")},
        {"message": Message(role="assistant", content="Wait.", tool_calls=(CALL,))},
    ],
)
def test_only_a_whole_answer_in_words_that_a_provider_gave_is_learned(otherwise: dict[str, Any]) -> None:
    assert may_be_learned(result(request(), NOW))
    assert not may_be_learned(result(request(), NOW, **otherwise))


def test_another_may_lead_after_a_failure_but_not_after_an_answer_or_a_refusal() -> None:
    assert another_may_lead(failure(request(), NOW))
    assert not another_may_lead(result(request(), NOW, finish_reason="length"))
    assert not another_may_lead(result(request(), NOW, outcome="refused", reason="provider_refused"))


def test_what_is_learned_is_equal_when_it_is_learned_again_and_lives_from_the_answers_end() -> None:
    record = embedded(near=vector())
    draft, end = draft_of(record, POLICY), result(record.request, NOW)

    assert learned(draft, end) == learned(draft, end)
    assert learned(draft, end).expires_at_ms == NOW + 3_600_000
    assert learned(draft, end).answer_id == answer_id("acme", record.question, "r1")


def test_the_vector_is_learned_only_for_what_may_be_matched_by_meaning() -> None:
    talk = (Message(role="user", content="a"), Message(role="assistant", content="b"), Message(role="user", content="c"))

    assert draft_of(embedded(near=vector()), POLICY).vector == vector()
    assert draft_of(embedded(near=vector(), messages=talk), POLICY).vector is None


def test_ids_differ_by_tenant_question_and_request() -> None:
    ids = {answer_id(*each) for each in (("a", "q", "r"), ("b", "q", "r"), ("a", "p", "r"), ("a", "q", "s"))}

    assert len(ids) == 4
