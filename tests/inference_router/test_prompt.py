"""The chat body, and the bound its passages keep."""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from daytwo.charging import PASSAGE_BYTES_BOUND, PASSAGE_OVERHEAD_BYTES, PROMPT_OVERHEAD_TOKENS
from daytwo.records import Message, Passage, RequestGrounded, Tool, ToolCall
from services.inference_router.prompt import INSTRUCTION, chat_body, citations
from tests.inference_router.builders import deployment, grounded


def passage(text: str = "A breaker opens.", title: str = "Breakers", number: int = 1) -> Passage:
    return Passage(chunk_id=f"c-{number}", source="guide.md", title=title, text=text, score=0.9)


def asked(record: RequestGrounded, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(chat_body(record, deployment(**fields)))
    return body


def test_a_plain_request_is_its_messages_model_and_limit() -> None:
    assert asked(grounded()) == {
        "model": "model-a",
        "messages": [{"role": "user", "content": "What is a breaker?"}],
        "max_tokens": 100,
    }


def test_temperature_is_sent_when_it_is_set_even_to_zero() -> None:
    assert asked(grounded(temperature=0.0))["temperature"] == 0.0


def test_openais_own_models_get_the_limit_by_its_new_name() -> None:
    assert "max_completion_tokens" in asked(grounded(), provider="openai")


def test_tools_tool_calls_and_their_answers_have_the_apis_form() -> None:
    call = ToolCall(id="t-1", name="look", arguments='{"at": 1}')
    messages = (
        Message(role="user", content="Look.", name="ann"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="seen", tool_call_id="t-1"),
    )
    body = asked(grounded(messages=messages, tools=(Tool(name="look", description="Looks.", parameters='{"type": "object"}'),)))
    assert body["messages"] == [
        {"role": "user", "content": "Look.", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t-1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}],
        },
        {"role": "tool", "content": "seen", "tool_call_id": "t-1"},
    ]
    assert body["tools"] == [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}]


def test_passages_are_numbered_behind_the_conversations_own_system_message() -> None:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="What?"))
    record = grounded(messages=messages, passages=[passage(), passage("It closes.", number=2)])
    sent = asked(record)["messages"]
    assert [message["role"] for message in sent] == ["system", "system", "user"]
    assert sent[1]["content"] == INSTRUCTION + "[1] Breakers\nA breaker opens.\n\n[2] Breakers\nIt closes.\n\n"
    assert [(c.number, c.chunk_id) for c in citations(record)] == [(1, "c-1"), (2, "c-2")]


def test_no_more_passages_are_sent_and_cited_than_were_reserved_for() -> None:
    record = grounded(passages=[passage(number=n) for n in range(9)], top_k=3)
    assert asked(record)["messages"][0]["content"].count("\n[") == 3
    assert len(citations(record)) == 3


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300)), min_size=1, max_size=5), st.integers(1, 60))
def test_passages_never_exceed_the_bytes_that_were_reserved(texts: list[tuple[str, str]], longer: int) -> None:
    record = grounded(passages=[passage(text * longer, title) for text, title in texts], top_k=len(texts))
    content = asked(record)["messages"][0]["content"]
    assert len(content.removeprefix(INSTRUCTION).encode()) <= len(texts) * (PASSAGE_BYTES_BOUND + PASSAGE_OVERHEAD_BYTES)


def test_the_instruction_fits_into_what_is_reserved_for_it() -> None:
    assert len(INSTRUCTION.encode()) <= PROMPT_OVERHEAD_TOKENS - 64


def test_a_long_passage_is_cut_to_its_share_in_the_form_a_tokenizer_may_bring_it_to() -> None:
    for text in ("x" * 9000, "\u0344" * 2048):  # in NFC the latter has twice its bytes
        content = asked(grounded(passages=[passage(text)], top_k=1))["messages"][0]["content"].removeprefix(INSTRUCTION)
        assert len(unicodedata.normalize("NFC", content).encode()) <= PASSAGE_BYTES_BOUND + PASSAGE_OVERHEAD_BYTES
