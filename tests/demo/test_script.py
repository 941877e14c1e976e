"""What is asked, and that no paraphrase gets the answer to another question."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from daytwo.config_file import load
from daytwo.records import TenantConfigured
from daytwo.topics import DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED, TENANT_CONFIGURED
from deploy.demo import script
from deploy.demo.stage import CONFIGURATION, demo_environment
from services.embedder.minilm_model import MiniLm
from services.embedder.wordllama_model import WordLlama

ADDRESSES = {"DAYTWO_DEMO_MODEL": "http://127.0.0.1:1/v1", "DAYTWO_DEMO_MOCK": "http://127.0.0.1:2/v1"}
NEW_TO_THE_HELP_DESK = (*script.OUTAGE, *script.RETURN, script.in_flight_together()[0].text)


def configured(tenant: str) -> TenantConfigured:
    record = load(CONFIGURATION, ADDRESSES).records[TENANT_CONFIGURED.name][tenant]
    assert isinstance(record, TenantConfigured)
    return record


def vectors(model: WordLlama | MiniLm, texts: list[str]) -> NDArray[np.float32]:
    found = model.embed(model.tokenize(texts))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("tenant", "topics", "others"),
    [("helpdesk", script.HELPDESK, NEW_TO_THE_HELP_DESK), ("manual", script.MANUAL, ())],
)
def test_the_threshold_separates_paraphrases_from_other_questions(
    tenant: str, topics: tuple[script.Topic, ...], others: tuple[str, ...]
) -> None:
    policy = configured(tenant)
    model = MiniLm() if policy.embedding_model == MiniLm.name else WordLlama()
    asked = [topic.question for topic in topics] + list(others)
    all_texts = asked + [text for topic in topics for text in topic.paraphrases]
    near = vectors(model, all_texts) @ vectors(model, asked).T
    for text, row in zip(all_texts, near, strict=True):
        for question, similarity in zip(asked, row, strict=True):
            if script.means_the_same(text, question):
                assert similarity >= policy.cache.threshold, (text, question)
            else:
                assert similarity < policy.cache.threshold - 0.2, (text, question)


def test_about_sixty_questions_are_asked_with_many_repeats_and_paraphrases() -> None:
    lines = [*script.first_round(), *script.second_round()]
    known = {line.text for line in script.first_round()}
    assert len(lines) + len(script.OUTAGE) + len(script.STRICT) // 2 >= 55
    assert sum(line.text in known for line in script.second_round()) >= 8
    assert sum(line.text not in known for line in script.second_round()) >= 12


def test_the_first_round_has_no_repeat_but_the_two_in_flight_together() -> None:
    times = Counter(line.text for line in script.first_round())
    assert [text for text, count in times.items() if count > 1] == [script.in_flight_together()[0].text]


def test_two_questions_in_flight_together_are_in_different_sessions() -> None:
    one, other = script.in_flight_together()
    assert one.text == other.text
    assert one.session != other.session


def test_tenants_ask_in_turn_and_in_several_sessions() -> None:
    lines = script.second_round()
    assert {line.tenant for line in lines[:2]} == {"helpdesk", "manual"}
    assert len({line.session for line in lines}) == 2 * script.SESSIONS


def test_questions_of_different_topics_do_not_mean_the_same() -> None:
    assert script.means_the_same(script.HELPDESK[0].question, script.HELPDESK[0].paraphrases[0])
    assert script.means_the_same("anything", "anything")
    assert not script.means_the_same(script.HELPDESK[0].question, script.HELPDESK[1].question)


def test_the_configuration_has_every_tenant_two_tiers_and_a_price_of_each() -> None:
    records = load(CONFIGURATION, ADDRESSES).records
    assert records[TENANT_CONFIGURED.name].keys() == script.MANNERS.keys()
    assert records[DEPLOYMENT_CONFIGURED.name].keys() == {"local", "mock"}
    assert len(records[PRICE_CONFIGURED.name]) == 2
    assert not load(CONFIGURATION, ADDRESSES).warnings


def test_the_demo_keeps_out_of_the_way_of_a_running_stack() -> None:
    environment = demo_environment({"DAYTWO_KAFKA": "elsewhere:9092"})
    assert Path(environment["DAYTWO_STATE"]).name == ".daytwo-demo"
    assert environment["DAYTWO_PORTS"] == "free"
    assert "DAYTWO_KAFKA" not in environment


def test_chosen_ports_and_state_are_kept() -> None:
    environment = demo_environment({"DAYTWO_PORT_OFFSET": "1000", "DAYTWO_STATE": "/tmp/mine"})
    assert environment["DAYTWO_STATE"] == "/tmp/mine-demo"
    assert "DAYTWO_PORTS" not in environment
