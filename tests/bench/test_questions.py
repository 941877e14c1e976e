from __future__ import annotations

from itertools import islice

import pytest

from daytwo.codec import decode, encode
from daytwo.question import is_single_turn, question_key, scope_key
from daytwo.topics import REQUEST_FINISHED, REQUEST_SUBMITTED
from deploy.bench.bare_hop import BareHop
from deploy.bench.bare_records import HOPS
from deploy.bench.questions import SCENARIOS, Scenario, documents, requests, warming


def keys(scenario: Scenario, count: int = 300) -> list[str]:
    return [question_key(request) for request in islice(requests(scenario, "run"), count)]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_equal_runs_ask_equal_questions_with_ids_of_their_own(scenario: Scenario) -> None:
    first, second = (list(islice(requests(scenario, "run"), 20)) for _ in range(2))

    assert first == second
    assert len({request.request_id for request in first}) == 20


@pytest.mark.parametrize("scenario", ["uncached", "grounded"])
def test_what_is_not_to_be_cached_is_asked_once(scenario: Scenario) -> None:
    assert len(set(keys(scenario))) == 300


def test_the_exact_scenario_asks_only_what_was_answered_before() -> None:
    known = {question_key(request) for request in warming("exact", "warm")}

    assert set(keys("exact")) <= known


def test_the_semantic_scenario_asks_other_texts_that_may_be_matched_by_meaning() -> None:
    known = warming("semantic", "warm")
    asked = list(islice(requests("semantic", "run"), 50))

    assert not set(keys("semantic")) & {question_key(request) for request in known}
    assert all(is_single_turn(request) for request in asked)
    assert {scope_key(request) for request in asked} == {scope_key(request) for request in known}


def test_every_document_is_of_its_own() -> None:
    contents = [document.content for document in documents("run")]

    assert len(set(contents)) == len(contents) > 1


def test_a_bare_record_fits_its_schema_at_every_hop() -> None:
    values = {REQUEST_SUBMITTED.name: encode(REQUEST_SUBMITTED, next(requests("uncached", "run")))}
    for number, (source, targets) in enumerate(HOPS):
        hop = BareHop("", number)
        for target in targets:
            values[target.name] = hop.written(target, hop.read(values[source.name]))
            decode(target, values[target.name], strict=True)

    assert decode(REQUEST_FINISHED, values[REQUEST_FINISHED.name]).request_id == "run-1"
