import statistics

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mock_provider.answers import (
    MOST_OUTPUT_TOKENS,
    ChatRequest,
    Usage,
    compose,
    read_request,
    streamed_answer,
    whole_answer,
)
from services.mock_provider.distributions import Fixed, Lognormal
from services.mock_provider.errors import InvalidRequestError
from tests.mock_provider.builders import a_question

texts = st.text(st.characters(codec="utf-8"))
parts = st.lists(st.builds(lambda text: {"type": "text", "text": text}, texts))
messages = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.one_of(texts, parts, st.none()),
    ),
    min_size=1,
)


def a_request(text: str = "Why?", **fields: object) -> ChatRequest:
    return read_request(orjson.dumps(a_question(text, **fields)))


def bytes_of(content: object) -> int:
    if isinstance(content, list):
        return sum(len(part["text"].encode()) for part in content)
    return len(content.encode()) if isinstance(content, str) else 0


@given(messages)
def test_prompt_tokens_never_exceed_the_bytes_plus_sixteen_a_message(said: list[dict[str, object]]) -> None:
    request = read_request(orjson.dumps({"model": "mock", "messages": said}))
    assert 0 < request.prompt_tokens <= sum(bytes_of(message["content"]) for message in said) + 16 * len(said)


def test_prompt_tokens_are_four_a_message_and_one_for_each_four_bytes_begun() -> None:
    assert a_request("").prompt_tokens == 4
    assert a_request("12345").prompt_tokens == 6
    assert a_request("äöü").prompt_tokens == 6


@given(texts, st.integers(1, 400), st.integers(1, 400))
def test_an_answer_has_as_many_words_as_tokens_and_no_more_than_allowed(text: str, wanted: int, most: int) -> None:
    answer = compose(a_request(text, max_tokens=most), Fixed(wanted), seed=0)
    assert answer.tokens == len(answer.text.split()) == min(wanted, most)
    assert answer.finish_reason == ("length" if most < wanted else "stop")


@given(texts, st.integers(0, 2**63 - 1))
def test_the_same_question_always_has_the_same_answer(text: str, seed: int) -> None:
    length = Lognormal(50, 400)
    assert compose(a_request(text), length, seed) == compose(a_request(text, temperature=1), length, seed)


def test_another_question_has_another_answer() -> None:
    assert compose(a_request("One?"), Fixed(16), 0).text != compose(a_request("Two?"), Fixed(16), 0).text


def test_the_last_user_message_is_the_question() -> None:
    said = [{"role": "user", "content": "first"}, {"role": "user", "content": "last"}, {"role": "tool", "content": "x"}]
    assert read_request(orjson.dumps({"model": "mock", "messages": said})).question == "last"


@pytest.mark.parametrize("seed", [0, 5])
def test_the_lengths_of_many_answers_have_the_median_that_was_asked_for(seed: int) -> None:
    lengths = [compose(a_request(f"Question {n}?"), Lognormal(100, 800), seed).tokens for n in range(20_000)]
    assert statistics.median(lengths) == pytest.approx(100, rel=0.04)
    assert statistics.quantiles(lengths, n=100)[98] == pytest.approx(800, rel=0.1)


def test_another_seed_gives_other_lengths() -> None:
    def lengths(seed: int) -> list[int]:
        return [compose(a_request(f"Question {n}?"), Lognormal(100, 800), seed).tokens for n in range(20)]

    assert lengths(1) != lengths(2)


def test_no_distribution_makes_an_answer_without_a_word_or_without_end() -> None:
    assert compose(a_request(), Fixed(0), 0).tokens == 1
    assert compose(a_request(), Fixed(1e300), 0).tokens == MOST_OUTPUT_TOKENS


@given(texts, st.integers(1, 300))
def test_a_streamed_answer_says_what_the_whole_answer_says(text: str, tokens: int) -> None:
    answer, usage = compose(a_request(text), Fixed(tokens), 0), Usage(prompt_tokens=3, completion_tokens=tokens)
    whole = orjson.loads(whole_answer("c", 1, "mock", answer, usage))
    *events, done = streamed_answer("c", 1, "mock", answer, usage)
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(deltas) == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert done == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "content"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"n": 2}, "n"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{field}:"):
        read_request(orjson.dumps({**a_question(), **change}))


@pytest.mark.parametrize("body", [b"", b"[1", b"[]", b"null", b"\xff", b'{"model": NaN}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"^body:"):
        read_request(body)
