"""Bodies a provider may send, and what is believed of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.records import ToolCall, Usage
from services.inference_router.chat_answer import MOST_ANSWER_BYTES, MalformedAnswerError, read_answer, refusal
from tests.inference_router.builders import body


def choice(**message: Any) -> bytes:
    return body(choices=[{"message": message, "finish_reason": "stop"}])


def test_a_completion_is_read() -> None:
    answer = read_answer(body("Well."))
    assert (answer.message.role, answer.message.content, answer.finish_reason) == ("assistant", "Well.", "stop")
    assert answer.usage == Usage(input_tokens=10, output_tokens=5)


def test_tool_calls_are_read_without_content() -> None:
    function = {"name": "look", "arguments": "not {json"}
    answer = read_answer(choice(content=None, tool_calls=[{"id": "t-1", "type": "function", "function": function}]))
    assert answer.message.content is None
    assert answer.message.tool_calls == (ToolCall(id="t-1", name="look", arguments="not {json"),)


def test_a_refusal_in_a_field_of_its_own_is_the_answer_in_words() -> None:
    assert read_answer(choice(content=None, refusal="I cannot.")).message.content == "I cannot."


def test_null_without_tool_calls_is_an_empty_answer() -> None:
    assert read_answer(choice(content=None)).message.content == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"NaN",
        b"\xff\xfe",
        b'{"choices": []}',
        b'{"choices": [3]}',
        b'{"choices": {"0": {}}}',
        b"[" * 100_000,
        body(choices=[{"message": None}]),
        choice(content=3),
        choice(content=["parts"]),
        choice(content="", tool_calls={"id": "t"}),
        choice(content="", tool_calls=[{"id": 7, "function": {"name": "f", "arguments": "{}"}}]),
        choice(content="", tool_calls=[{"id": "t", "function": {"name": "f", "arguments": {}}}]),
        body(choices=[{"message": {"content": "x"}, "finish_reason": 3}]),
        body().replace(b'"prompt_tokens":10', b'"prompt_tokens":NaN'),
        body()[:-20],
    ],
)
def test_what_is_no_completion_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        read_answer(data)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        {"prompt_tokens": 10},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 1.5, "completion_tokens": 5},
        {"prompt_tokens": 10, "completion_tokens": "5"},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 2**63, "completion_tokens": 5},
    ],
)
def test_a_usage_that_cannot_be_is_none_and_the_answer_is_still_read(usage: object) -> None:
    answer = read_answer(body("Well.", usage=usage))
    assert (answer.message.content, answer.usage) == ("Well.", None)


@pytest.mark.parametrize(("cached", "believed"), [(4, 4), (10, 10), (11, 0), (-1, 0), ("4", 0), (None, 0)])
def test_cached_tokens_count_only_where_they_make_sense(cached: object, believed: int) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": cached}}
    read = read_answer(body(usage=usage)).usage
    assert read is not None
    assert read.cached_input_tokens == believed


def test_an_answer_that_no_topic_would_take_is_refused() -> None:
    with pytest.raises(MalformedAnswerError, match="answer_too_large"):
        read_answer(body("é" * (MOST_ANSWER_BYTES // 2 + 1)))


@given(st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_no_json_breaks_the_reading(value: object) -> None:
    for data in (orjson.dumps(value), body(choices=value), choice(content="x", tool_calls=value), body(usage=value)):
        try:
            read_answer(data)
        except MalformedAnswerError:
            continue


def test_an_error_body_is_quoted_in_part() -> None:
    assert refusal(b'{"error": {"message": "' + b"x" * 999 + b'"}}') == "x" * 300
    assert refusal(b'{"error": "plain"}') == "plain"
    for data in (b"", b"<html>", b"[1]", b'{"error": {"message": 3}}', b'{"error": null}'):
        assert refusal(data) == ""


@pytest.mark.parametrize(("said", "read"), [(3, 3), (6, 0), (-1, 0), ("3", 0), (None, 0)])
def test_reasoning_tokens_are_a_part_of_the_output_or_none(said: object, read: int) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": said}}

    found = read_answer(body(usage=usage)).usage

    assert found == Usage(input_tokens=10, output_tokens=5, reasoning_tokens=read)
