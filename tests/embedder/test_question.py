from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.question import is_single_turn, normalised, question_key, question_text, scope_key
from daytwo.records import Grounding, Message, Tool, ToolCall
from tests.embedder.builders import request, user

SYSTEM = Message(role="system", content="Be brief.")
ASSISTANT = Message(role="assistant", content="Yes?")


def test_a_key_is_32_hex_digits_and_lasts() -> None:
    assert question_key(request(user("hello"))) == "5dc88aca31b11e750d6cd1ea02075e73"
    assert question_key(request(user("hello"))) == question_key(request(user("hello"), request_id="other", user="u", session="s"))


@pytest.mark.parametrize("text", ["  hello world \n", "hello   world", "hello world"])
def test_white_space_that_means_nothing_does_not_change_the_question(text: str) -> None:
    assert question_key(request(user(text))) == question_key(request(user("hello world")))


def test_composed_and_decomposed_letters_are_the_same_question() -> None:
    assert question_key(request(user("caf\u00e9"))) == question_key(request(user("cafe\u0301")))


@pytest.mark.parametrize("text", ["Hello world", "hello\nworld", "helloworld", "hello world?"])
def test_case_lines_and_signs_are_part_of_the_question(text: str) -> None:
    assert question_key(request(user(text))) != question_key(request(user("hello world")))


def test_indentation_is_part_of_the_question() -> None:
    flat, nested = user("if a:\n    b\nc"), user("if a:\n    b\n    c")

    assert question_key(request(flat)) != question_key(request(nested))


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


GROUNDING = Grounding(collection="docs", sources=("a", "b"), categories=("x",), after_ms=1, before_ms=2, top_k=3)
BASE = request(SYSTEM, user("hello"), grounding=GROUNDING, tools=(Tool(name="f"),), temperature=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "other"},
        {"model": "large"},
        {"max_tokens": 7},
        {"temperature": None},
        {"temperature": 0.0},
        {"tools": ()},
        {"tools": (Tool(name="f", parameters='{"type":"object"}'),)},
        {"grounding": None},
        {"grounding": replace(GROUNDING, collection="other")},
        {"grounding": replace(GROUNDING, sources=("a",))},
        {"grounding": replace(GROUNDING, categories=())},
        {"grounding": replace(GROUNDING, after_ms=None)},
        {"grounding": replace(GROUNDING, before_ms=3)},
        {"grounding": replace(GROUNDING, top_k=4)},
        {"messages": (Message(role="developer", content="Be brief."), user("hello"))},
        {"messages": (Message(role="system", content="Be long."), user("hello"))},
        {"messages": (user("hello"),)},
        {"messages": (SYSTEM, Message(role="user", content="hello", name="ann"))},
    ],
)
def test_all_that_decides_an_answer_is_in_both_keys(change: dict[str, Any]) -> None:
    changed = replace(BASE, **change)

    assert question_key(changed) != question_key(BASE)
    assert scope_key(changed) != scope_key(BASE)


def test_the_text_of_the_question_is_in_the_key_and_not_in_the_scope() -> None:
    other = replace(BASE, messages=(SYSTEM, user("good bye")))

    assert question_key(other) != question_key(BASE)
    assert scope_key(other) == scope_key(BASE)


def test_what_a_tool_was_called_with_is_part_of_the_question() -> None:
    def asked(arguments: str) -> str:
        call = ToolCall(id="1", name="f", arguments=arguments)
        return question_key(
            request(user("hi"), Message(role="assistant", tool_calls=(call,)), Message(role="tool", content="5", tool_call_id="1"))
        )

    assert asked('{"a": 1}') != asked('{"a": 2}')


def test_the_order_of_filters_does_not_matter() -> None:
    turned = replace(BASE, grounding=replace(GROUNDING, sources=("b", "a", "b")))

    assert question_key(turned) == question_key(BASE)


def test_texts_cannot_run_into_each_other() -> None:
    assert question_key(request(user("a"), user("b"))) != question_key(request(user("ab")))
    assert question_key(request(user('a","b'))) != question_key(request(user("a"), user("b")))


def test_the_question_is_the_last_user_message_as_written() -> None:
    assert question_text(request(user("one"), ASSISTANT, user("  two "), Message(role="tool", content="x"))) == "  two "
    assert question_text(request(Message(role="tool", content="x"))) == ""
    assert question_text(request(user(None))) == ""


@pytest.mark.parametrize(
    ("messages", "tools", "single"),
    [
        ((user("a"),), (), True),
        ((SYSTEM, Message(role="developer", content="x"), user("a")), (), True),
        ((user("a"), user("b")), (), False),
        ((user("a"), ASSISTANT, user("b")), (), False),
        ((user("a"), Message(role="tool", content="1")), (), False),
        ((user("a"),), (Tool(name="f"),), False),
        ((Message(role="tool", content="1"),), (), False),
    ],
)
def test_only_one_user_message_without_tools_stands_alone(messages: tuple[Message, ...], tools: tuple[Tool, ...], single: bool) -> None:
    assert is_single_turn(request(*messages, tools=tools)) is single
