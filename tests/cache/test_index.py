from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daytwo.records import AnswerLearned, Vector
from services.cache.index import AnswerIndex, Neighbour
from services.cache.vectors import FEW, VectorSpace, unit
from tests.cache.builders import START_MS, answer, vector

NOW = START_MS + 1000
LIVES_MS = 3_600_000


def index_of(*answers: AnswerLearned, most: int = 1000) -> AnswerIndex:
    index = AnswerIndex(most)
    for each in answers:
        index.put(each, NOW)
    return index


def ids(neighbours: Sequence[Neighbour]) -> list[str]:
    return [neighbour.entry.answer_id for neighbour in neighbours]


def test_tenants_never_share_neither_by_question_nor_by_meaning() -> None:
    theirs = answer(tenant="acme", near=vector())
    index = index_of(theirs)

    assert index.exact("acme", theirs.question, NOW) is not None
    assert ids(index.near("acme", theirs.scope, vector())) == [theirs.answer_id]
    assert index.exact("globex", theirs.question, NOW) is None
    assert index.near("globex", theirs.scope, vector()) == []


@pytest.mark.parametrize("other", [{"model": "minilm-int8"}, {"version": "2"}])
def test_vectors_of_another_model_or_version_are_never_compared(other: dict[str, str]) -> None:
    known = answer(near=vector())

    assert index_of(known).near("acme", known.scope, vector(**other)) == []  # type: ignore[arg-type]


def test_a_vector_of_another_dimension_is_never_compared() -> None:
    known = answer(near=vector(dimension=8))

    assert index_of(known).near("acme", known.scope, vector(dimension=16)) == []


def test_meaning_is_compared_within_one_scope_only() -> None:
    known = answer(near=vector())

    assert index_of(known).near("acme", "another scope", vector()) == []


def test_an_answer_of_a_longer_conversation_is_found_by_its_question_only() -> None:
    known = replace(answer(near=vector()), single_turn=False)
    index = index_of(known)

    assert index.exact("acme", known.question, NOW) is not None
    assert index.near("acme", known.scope, vector()) == []


def test_the_latest_answer_to_a_question_holds() -> None:
    old, new = (answer(request_id=each, near=vector()) for each in ("r1", "r2"))
    index = index_of(old)
    replaced = index.put(new, NOW)

    assert replaced is not None
    assert replaced.answer_id == old.answer_id
    assert ids(index.near("acme", new.scope, vector())) == [new.answer_id]
    assert len(index) == 1


def test_a_tombstone_removes_an_answer_by_question_and_by_meaning() -> None:
    known = answer(near=vector())
    index = index_of(known)
    index.tombstone("acme", known.question)

    assert index.exact("acme", known.question, NOW) is None
    assert index.near("acme", known.scope, vector()) == []


def test_an_answer_is_not_served_from_the_moment_it_expires() -> None:
    known = answer()
    expires_at_ms = known.expires_at_ms

    assert index_of(known).exact("acme", known.question, expires_at_ms - 1) is not None
    assert index_of(known).exact("acme", known.question, expires_at_ms) is None


def test_an_answer_that_had_expired_when_it_was_read_removes_what_it_replaces() -> None:
    known = answer(request_id="r1")
    index = index_of(known)
    index.put(replace(answer(request_id="r2"), expires_at_ms=NOW), NOW)

    assert len(index) == 0


def test_expired_answers_are_evicted_a_few_at_a_time_and_forgotten_on_the_topic_once() -> None:
    known = [answer(f"question {n}", near=vector()) for n in range(20)]
    index = index_of(*known)
    index.exact("acme", "another", NOW + LIVES_MS)
    after_one = len(index)
    index.exact("acme", "another", NOW + LIVES_MS)
    index.exact("acme", "another", NOW + LIVES_MS)

    assert (after_one, len(index)) == (12, 0)
    taken = index.take_forgotten(12, but=("acme", known[0].question)) + index.take_forgotten(12, but=("acme", ""))
    assert sorted(taken) == sorted(("acme", each.question) for each in known[1:])


def test_what_is_learned_anew_is_not_forgotten() -> None:
    known = answer()
    index = index_of(known)
    index.exact("acme", known.question, NOW + LIVES_MS)
    index.put(answer(request_id="r2", learned_at_ms=NOW + LIVES_MS), NOW + LIVES_MS)

    assert index.take_forgotten(8, but=("acme", "")) == []


def test_a_tenant_keeps_so_many_and_those_that_expire_soonest_go_but_never_another_tenants() -> None:
    other = answer("theirs", tenant="globex")
    mine = [answer(f"question {n}", learned_at_ms=START_MS + n) for n in (2, 0, 1, 3)]
    index = index_of(other, *mine, most=3)

    assert [index.exact("acme", each.question, NOW) is not None for each in mine] == [True, False, True, True]
    assert index.exact("globex", other.question, NOW) is not None


def test_a_question_refreshed_ten_thousand_times_takes_no_more_room() -> None:
    index = AnswerIndex(1000)
    known = answer(near=vector())
    for n in range(10_000):
        index.put(replace(known, answer_id=str(n)), NOW)

    assert len(index) == 1
    assert len(index._tenants["acme"]._expiring) <= 2 + 64


@pytest.mark.parametrize("values", [b"", b"\0" * 32, np.full(8, np.nan, "<f4").tobytes(), np.full(8, np.inf, "<f4").tobytes(), b"\0" * 31])
def test_a_broken_vector_is_matched_with_nothing_and_breaks_nothing(values: bytes) -> None:
    broken = Vector(model="wordllama-256", version="1", dimension=8, values=values)
    known = answer(near=vector())
    index = index_of(known, answer("other", near=broken))

    assert index.near("acme", known.scope, broken) == []
    assert ids(index.near("acme", known.scope, vector())) == [known.answer_id]


def test_a_long_vector_is_compared_at_length_one() -> None:
    values = np.full(4, 7.0, dtype="<f4").tobytes()
    row = unit(Vector(model="m", version="1", dimension=4, values=values))

    assert row is not None
    assert math.isclose(float(np.linalg.norm(row)), 1.0, abs_tol=1e-6)


@pytest.mark.parametrize("count", [FEW, FEW + 1, 3 * FEW])
def test_few_and_many_vectors_find_the_nearest_with_its_similarity_also_after_removals(count: int) -> None:
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((count, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    space = VectorSpace(64)
    for label, row in enumerate(rows):
        space.add(label, row)
    for label in range(0, count, 2):
        space.remove(label)

    assert len(space) == count // 2
    for label in range(1, count, 2):
        (nearest, similarity), *others = space.nearest(rows[label], 8)
        assert nearest == label
        assert math.isclose(similarity, 1.0, abs_tol=1e-6)
        assert all(other % 2 == 1 and math.isclose(near, float(rows[other] @ rows[label]), abs_tol=1e-3) for other, near in others)


Act = tuple[str, str, int]
ACTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("uvwxyz"), st.integers(min_value=-1, max_value=5)), min_size=1, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_whatever_is_put_and_removed_the_index_knows_what_a_plain_dictionary_knows(acts: list[Act]) -> None:
    index, plain = AnswerIndex(1000), dict[tuple[str, str], AnswerLearned]()
    for place, (tenant, text, life) in enumerate(acts):
        known = answer(text, tenant=tenant, request_id=str(place), near=vector(0.5, turn=ord(text)))
        key = (tenant, known.question)
        if life < 0:
            index.tombstone(*key)
            plain.pop(key, None)
        else:
            plain[key] = replace(known, expires_at_ms=NOW + life)
            index.put(plain[key], NOW)

    for (tenant, question), known in plain.items():
        found = index.exact(tenant, question, NOW)
        alive = known.expires_at_ms > NOW
        assert (found.answer_id if found else None) == (known.answer_id if alive else None)
        assert (known.answer_id in ids(index.near(tenant, known.scope, vector(0.5), 8))) == alive
