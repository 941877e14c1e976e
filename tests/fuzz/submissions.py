"""Hostile requests and documents, one after another from a seed: number N of a seed is always the same record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from daytwo.broker import Outgoing, outgoing
from daytwo.codec import HEADER_BYTES, encode
from daytwo.fate import headers_of
from daytwo.records import DocumentSubmitted, Grounding, Message, RequestSubmitted, Tool, ToolCall
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_SUBMITTED, TOPIC_OF
from tests.fuzz.corpus import DOCUMENTS, KEY, REQUESTS, examples
from tests.fuzz.mutation import TEXTS, mutate, number

Submission = RequestSubmitted | DocumentSubmitted

_LONG: Final = 2**63 - 1
_EMPTY_NAMES: Final = 5  # user, session, workflow, step, agent: a byte each
_WORDS: Final = (*(text.decode("utf-8", "replace") for text in TEXTS), "", " ", "a" * 129, "\ud7ff\ue000", "Z\u0351\u036b" * 50)
_NUMBERS: Final = (0, -1, 1, 2**31 - 1, -(2**31))
_LONGS: Final = (*_NUMBERS, _LONG, -_LONG - 1)
_DOUBLES: Final = (0.0, -0.0, 2.0, 2.1, -1.0, 1e308, float("nan"), float("inf"), float("-inf"))
_DEEP: Final = tuple(opening * times for opening in ("[", '{"a":') for times in (63, 64, 65, 500, 20_000))


def submission(seed: int, number: int) -> Outgoing:
    """Record `number` of the run `seed`."""
    rng = Random(f"{seed}/{number}")
    record = rng.choice((*REQUESTS, *REQUESTS, *DOCUMENTS))
    return rng.choices(*zip(*_SHAPES, strict=True))[0](record, rng)  # type: ignore[no-any-return]


def timestamp(seed: int, number: int) -> int:
    """What Kafka says of its time, epoch milliseconds; mostly 0: as it is."""
    return Random(f"{seed}/{number}/time").choice((0,) * 30 + _LONGS)


def whole(record: Submission, rng: Random) -> Outgoing:
    """As a well-behaved client sends it, signed."""
    message = outgoing(record, headers_of(record))
    signed = {KEY_HEADER: KEY.id.encode(), SIGNATURE_HEADER: sign(KEY.secret, message.value or b"").encode()}
    return message._replace(headers={**message.headers, **signed})


def damaged(record: Submission, rng: Random) -> Outgoing:
    message = whole(record, rng)
    return message._replace(value=mutate(message.value or b"", rng, _others(message.topic)))


def damaged_beside(record: Submission, rng: Random) -> Outgoing:
    """The value is well; key and headers are not."""
    message = whole(record, rng)
    headers = {name: mutate(value, rng) if rng.random() < 0.5 else value for name, value in message.headers.items()}
    for name in rng.sample(sorted(headers), rng.randint(0, 2)):
        del headers[name]
    if rng.random() < 0.3:
        headers[rng.choice(_WORDS)] = rng.choice(TEXTS)
    return message._replace(key=rng.choice((None, b"", b"/", message.key, mutate(message.key or b"", rng))), headers=headers)


def damaged_all_over(record: Submission, rng: Random) -> Outgoing:
    return damaged_beside(record, rng)._replace(value=damaged(record, rng).value)


def hostile(record: Submission, rng: Random) -> Outgoing:
    """Proper Avro, with values that nobody means well; signed or not."""
    for _ in range(rng.randint(1, 3)):
        fields = _REQUEST_FIELDS if isinstance(record, RequestSubmitted) else _DOCUMENT_FIELDS
        name = rng.choice(sorted(fields))
        record = replace(record, **{name: fields[name](rng)})
    message = outgoing(record, headers_of(record) if rng.random() < 0.7 else {})
    return message._replace(headers={**message.headers, **whole(record, rng).headers}) if rng.random() < 0.7 else message


def misplaced(record: Submission, rng: Random) -> Outgoing:
    """A record of another topic, or nothing."""
    value = rng.choice((None, b"", rng.choice(_others("")), encode(TOPIC_OF[type(record)], record)))
    return Outgoing(topic=rng.choice((REQUEST_SUBMITTED.name, DOCUMENT_SUBMITTED.name)), key=rng.choice((None, b"open/s")), value=value)


def huge(record: Submission, rng: Random) -> Outgoing:
    """Megabytes: of text, of text with one broken byte, or of the smallest list items, which decoding makes much larger."""
    size = rng.choice((70_000, 1 << 20, 3 << 20, 9 << 20, 12 << 20))
    message = whole(rng.choice(REQUESTS[:2]), rng)
    kind = rng.choice(("text", "broken text", "items", "noise"))
    if kind == "items":
        return message._replace(value=crowded(size))
    if kind == "noise":
        return message._replace(value=rng.randbytes(size))
    text = replace(REQUESTS[0], messages=(Message(role="user", content="x" * size),))
    value = bytearray(encode(REQUEST_SUBMITTED, text))
    if kind == "broken text":
        value[size // 2] = 0xFF
    return message._replace(value=bytes(value))


def crowded(size: int, *, tenant: str = "open", request_id: str = "r-1") -> bytes:
    """A request of so many bytes, which are messages of five bytes each; decoded they would be a hundred times as large."""
    empty = encode(REQUEST_SUBMITTED, RequestSubmitted(request_id=request_id, tenant=tenant, messages=()))
    names = b"".join(number(len(name)) + name.encode() for name in (request_id, tenant))
    place = len(empty[:HEADER_BYTES]) + len(names) + _EMPTY_NAMES
    items = size // 5
    return empty[:place] + number(items) + bytes(5) * items + empty[place:]


def _others(topic: str) -> Sequence[bytes]:
    return examples().get(topic) or [value for values in examples().values() for value in values]


def _word(rng: Random) -> str:
    return rng.choice(_WORDS)


def _words(rng: Random) -> tuple[str, ...]:
    return rng.choice(((), (_word(rng),), (_word(rng), _word(rng)), ("a",) * 101))


def _json(rng: Random) -> str:
    return rng.choice((*_DEEP, *_WORDS, '{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}', "[1]", "1" * 5000))


def _message(rng: Random) -> Message:
    calls = (ToolCall(id=_word(rng), name=_word(rng), arguments=_json(rng)),) * rng.choice((0, 0, 0, 1, 2))
    role = rng.choice(("user", "assistant", "tool", "system", "wizard", ""))
    return Message(role=role, content=rng.choice((None, _word(rng), "Why?")), name=_word(rng), tool_calls=calls, tool_call_id=_word(rng))


def _messages(rng: Random) -> tuple[Message, ...]:
    if rng.random() < 0.02:
        calls = (ToolCall(id="c", name="f", arguments="{}"),) * 129
        return rng.choice(((Message(role="assistant", tool_calls=calls),), (Message(role="user", content="x"),) * 1001))
    return tuple(_message(rng) for _ in range(rng.choice((0, 1, 2, 5))))


def _tools(rng: Random) -> tuple[Tool, ...]:
    one = Tool(name=rng.choice(("f", _word(rng))), description=rng.choice(("", _word(rng))), parameters=_json(rng))
    return rng.choice(((one,), (one, one), (Tool(name="f", parameters="{}"),) * 129))


def _grounding(rng: Random) -> Grounding | None:
    after, before = rng.choice((None, *_LONGS)), rng.choice((None, *_LONGS))
    collection = rng.choice(("kb", _word(rng)))
    return rng.choice(
        (
            None,
            Grounding(
                collection=collection,
                top_k=rng.choice(_NUMBERS),
                sources=_words(rng),
                categories=_words(rng),
                after_ms=after,
                before_ms=before,
            ),
        )
    )


def _metadata(rng: Random) -> dict[str, str]:
    return rng.choice(({}, {_word(rng): _word(rng)}, {_word(rng): "a", "b": _word(rng)}, {str(n): "" for n in range(33)}))


def _content(rng: Random) -> bytes | None:
    original = rng.choice(DOCUMENTS).content
    return rng.choice((None, b"", rng.choice(TEXTS), bytes(range(256)) * 4, mutate(original or b"", rng), b"\xef\xbb\xbf# A"))


Make = Callable[[Random], Any]

_REQUEST_FIELDS: Final[dict[str, Make]] = {
    **dict.fromkeys(("request_id", "tenant", "user", "session", "workflow", "step", "agent", "model", "traceparent"), _word),
    "messages": _messages,
    "max_tokens": lambda rng: rng.choice(_NUMBERS),
    "temperature": lambda rng: rng.choice((None, *_DOUBLES)),
    "tools": _tools,
    "grounding": _grounding,
    "deadline_ms": lambda rng: rng.choice(_LONGS),
    "metadata": _metadata,
}
_DOCUMENT_FIELDS: Final[dict[str, Make]] = {
    **dict.fromkeys(("document_id", "tenant", "collection", "source", "media_type", "title", "category", "traceparent"), _word),
    "content": _content,
    "published_at_ms": lambda rng: rng.choice(_LONGS),
    "metadata": _metadata,
}
_SHAPES: Final = (
    (whole, 10),
    (damaged, 400),
    (damaged_beside, 90),
    (damaged_all_over, 100),
    (hostile, 300),
    (misplaced, 99),
    (huge, 0.3),
)
"""How to send a record, and how often, of about a thousand."""
