"""Each rule of a request's and a document's shape is shown to bite, and to let through what is right at its edge."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.records import Grounding, Message, Tool, ToolCall
from services.ingest.validation import document_problem, request_problem
from tests.ingest.builders import document, request

CALL = ToolCall(id="c1", name="look_up", arguments='{"a": 1}')
USER = Message(role="user", content="Why?")


def says(content: str | None, **fields: Any) -> tuple[Message, ...]:
    return (Message(role="user", content=content, **fields),)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("an empty request id", {"request_id": ""}, "request_id: needs 1 to 128"),
    ("an id with a space", {"request_id": "a b"}, "request_id: needs 1 to 128"),
    ("an id with a line end behind it", {"request_id": "a\n"}, "request_id: needs 1 to 128"),
    ("a control character in an id", {"request_id": "a\x00b"}, "request_id: control character U+0000"),
    ("an id of 129", {"tenant": "t" * 129}, "tenant: needs 1 to 128"),
    ("letters beyond ASCII in an id", {"user": "jürgen"}, "user: needs"),
    ("a bad session", {"session": "a/b"}, "session: needs"),
    ("a bad workflow", {"workflow": "a/b"}, "workflow: needs"),
    ("a bad step", {"step": "a/b"}, "step: needs"),
    ("a bad agent", {"agent": "a/b"}, "agent: needs"),
    ("no model", {"model": ""}, "model: must not be empty"),
    ("a long model", {"model": "m" * 257}, "model: 257 characters; at most 256"),
    ("a control character in the model", {"model": "gpt\x1b"}, "model: control character U+001B"),
    ("negative max_tokens", {"max_tokens": -1}, "max_tokens: -1"),
    ("no tokens at all", {"max_tokens": 0}, "max_tokens: 0"),
    ("too many tokens", {"max_tokens": 1_000_001}, "max_tokens: 1000001"),
    ("a temperature that is no number", {"temperature": math.nan}, "temperature: nan"),
    ("an infinite temperature", {"temperature": math.inf}, "temperature: inf"),
    ("a negative temperature", {"temperature": -0.1}, "temperature: -0.1"),
    ("too hot a temperature", {"temperature": 2.1}, "temperature: 2.1"),
    ("no messages", {"messages": ()}, "messages: 0; 1 to 10"),
    ("too many messages", {"messages": (USER,) * 11}, "messages: 11; 1 to 10"),
    ("an unknown role", {"messages": (Message(role="god", content="Be"),)}, "messages[0].role: needs one of"),
    ("no content", {"messages": says(None)}, "messages[0].content: null without tool_calls"),
    ("empty content", {"messages": says("")}, "messages[0].content: empty"),
    ("blank content", {"messages": says(" \n\t")}, "messages[0].content: empty"),
    ("a control character in content", {"messages": says("a\x07")}, "messages[0].content: control character U+0007"),
    ("a control character in a name", {"messages": says("a", name="b\n")}, "messages[0].name: control character U+000A"),
    ("the assistant last", {"messages": (USER, Message(role="assistant", content="So"))}, "messages: the last one is from assistant"),
    ("a tool that answers no call", {"messages": (Message(role="tool", content="7"),)}, "messages[0].tool_call_id: must not be empty"),
    ("a user who calls tools", {"messages": says("a", tool_calls=(CALL,))}, "messages[0].tool_calls: only an assistant"),
    (
        "arguments without bound",
        {"messages": (Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments="x" * 65_537),)), USER)},
        "messages[0].tool_calls[0].arguments: 65537 characters",
    ),
    (
        "a call without id",
        {"messages": (Message(role="assistant", tool_calls=(ToolCall(id="", name="f", arguments=""),)), USER)},
        "messages[0].tool_calls[0].id: must not be empty",
    ),
    ("129 calls", {"messages": (Message(role="assistant", tool_calls=(CALL,) * 129), USER)}, "messages[0].tool_calls: 129; at most 128"),
    ("129 tools", {"tools": (Tool(name="f"),) * 129}, "tools: 129; at most 128"),
    ("a tool's name with a dot", {"tools": (Tool(name="f.g"),)}, "tools[0].name: needs"),
    ("a control character in a description", {"tools": (Tool(name="f", description="\x01"),)}, "tools[0].description: control"),
    ("parameters that are no JSON", {"tools": (Tool(name="f", parameters="{"),)}, "tools[0].parameters: "),
    ("parameters with NaN", {"tools": (Tool(name="f", parameters='{"a":NaN}'),)}, "tools[0].parameters: "),
    ("parameters that are a list", {"tools": (Tool(name="f", parameters="[]"),)}, "tools[0].parameters: needs a JSON object"),
    ("parameters 65 deep", {"tools": (Tool(name="f", parameters=nested(65)),)}, "tools[0].parameters: nested deeper than 64"),
    ("no collection", {"grounding": Grounding(collection="")}, "grounding.collection: needs"),
    ("no passages", {"grounding": Grounding(collection="kb", top_k=0)}, "grounding.top_k: 0"),
    ("too many passages", {"grounding": Grounding(collection="kb", top_k=51)}, "grounding.top_k: 51"),
    ("101 sources", {"grounding": Grounding(collection="kb", sources=("s",) * 101)}, "grounding.sources: 101"),
    ("an empty category", {"grounding": Grounding(collection="kb", categories=("",))}, "grounding.categories[0]: must not be empty"),
    ("an empty span of time", {"grounding": Grounding(collection="kb", after_ms=5, before_ms=5)}, "grounding: after_ms"),
    ("33 labels", {"metadata": {str(n): "" for n in range(33)}}, "metadata: 33 entries"),
    ("a label without name", {"metadata": {"": "a"}}, "metadata key: must not be empty"),
    ("a long label", {"metadata": {"k" * 65: ""}}, "metadata key: 65 characters"),
    ("a long value of a label", {"metadata": {"k": "v" * 513}}, "metadata[k]: 513 characters"),
    ("a trace context of zeros", {"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}, "traceparent: neither"),
]


@pytest.mark.parametrize(("fields", "problem"), [pytest.param(fields, problem, id=name) for name, fields, problem in WRONG])
def test_a_request_is_refused_for(fields: dict[str, Any], problem: str) -> None:
    assert (request_problem(request(**fields), max_messages=10) or "").startswith(problem)


RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("the least there is", {}),
    ("the longest ids", {"request_id": "Az09._:@-" + "r" * 119}),
    ("all ids", {"user": "u", "session": "s", "workflow": "w", "step": "1", "agent": "a"}),
    ("the edges of numbers", {"max_tokens": 1_000_000, "temperature": 2.0}),
    ("a temperature of zero", {"temperature": 0.0}),
    ("tabs, line ends and any letters", {"messages": says("Tab\t\r\nüß漢字😀")}),
    (
        "a tool's answer, empty",
        {"messages": (USER, Message(role="assistant", tool_calls=(CALL,)), Message(role="tool", content="", tool_call_id="c1"))},
    ),
    ("parameters 64 deep", {"tools": (Tool(name="f_-1", parameters=nested(64)),)}),
    (
        "a filter on everything",
        {"grounding": Grounding(collection="kb", sources=("a b",) * 100, categories=("c",), after_ms=1, before_ms=2, top_k=50)},
    ),
    ("the most labels", {"metadata": {str(n): "v" * 512 for n in range(32)}}),
    ("a trace context", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}),
]


@pytest.mark.parametrize("fields", [pytest.param(fields, id=name) for name, fields in RIGHT])
def test_a_request_may_have(fields: dict[str, Any]) -> None:
    assert request_problem(request(**fields), max_messages=10) is None


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_million_deep_json_is_refused_within_milliseconds(opening: str) -> None:
    deep = request(tools=(Tool(name="f", parameters=opening * 1_000_000),))
    started = time.perf_counter()
    problem = request_problem(deep, max_messages=10)
    assert problem
    assert problem.startswith("tools[0].parameters: ")
    assert time.perf_counter() - started < 0.25


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_content_is_refused_exactly_if_blank_or_with_a_control_character(content: str) -> None:
    control = any(ord(letter) < 32 and letter not in "\t\n\r" for letter in content)
    problem = request_problem(request(messages=says(content)), max_messages=10)
    assert (problem is not None) == (control or not content.strip())


WRONG_DOCUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("no document id", {"document_id": ""}, "document_id: needs"),
    ("a bad tenant", {"tenant": "a b"}, "tenant: needs"),
    ("a bad collection", {"collection": "a/b"}, "collection: needs"),
    ("no source", {"source": ""}, "source: must not be empty"),
    ("a long source", {"source": "s" * 513}, "source: 513 characters"),
    ("a control character in the source", {"source": "a\nb"}, "source: control character U+000A"),
    ("a long title", {"title": "t" * 513}, "title: 513"),
    ("a long category", {"category": "c" * 129}, "category: 129"),
    ("a picture", {"media_type": "image/png"}, "media_type: needs one of text/plain"),
    ("a time before 1970", {"published_at_ms": -1}, "published_at_ms: -1"),
    ("too many labels", {"metadata": {str(n): "" for n in range(33)}}, "metadata: 33"),
    ("too much in labels", {"metadata": {str(n): "v" * 512 for n in range(9)}}, "metadata: 4617 characters; at most 4096"),
    ("a bad trace context", {"traceparent": "x"}, "traceparent: neither"),
]


@pytest.mark.parametrize(("fields", "problem"), [pytest.param(fields, problem, id=name) for name, fields, problem in WRONG_DOCUMENTS])
def test_a_document_is_refused_for(fields: dict[str, Any], problem: str) -> None:
    assert (document_problem(document(**fields)) or "").startswith(problem)


def test_a_document_may_have_any_one_line_source() -> None:
    assert document_problem(document(source="https://example.org/ä b?c=d#e", title="", category="manual")) is None
