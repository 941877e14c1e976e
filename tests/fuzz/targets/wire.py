"""The codec and the strict reader: any bytes are a record or unreadable, and what is read can be written again."""

from __future__ import annotations

import io
from functools import cache
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader

from daytwo.avro_reader import NOT_READ, head_reader, reader
from daytwo.codec import HEADER_BYTES, decode, decode_head, encode, registry
from daytwo.errors import UnreadableError
from daytwo.strict_avro import read_strictly
from daytwo.topics import TOPICS
from tests.fuzz.corpus import examples

LONGEST_DETAIL: Final = 400


def codec(data: bytes) -> None:
    """The first byte chooses the topic, the rest is a record's value."""
    topic: Any = TOPICS[(data[0] if data else 0) % len(TOPICS)]
    value = data[1:]
    read = [_read(topic, value, strict=strict) for strict in (False, True)]
    assert read[1] is None or encode(topic, read[1]) == encode(topic, read[0])
    if read[0] is not None:
        again = decode(topic, encode(topic, read[0]), strict=True)
        assert encode(topic, again) == encode(topic, read[0])
        topic.key(read[0]).encode()
    try:
        decode_head(topic, value)
    except UnreadableError as error:
        assert len(error.detail) < LONGEST_DETAIL


def _read(topic: Any, value: bytes, *, strict: bool) -> Any:
    try:
        return decode(topic, value, strict=strict)
    except UnreadableError as error:
        assert len(error.detail) < LONGEST_DETAIL
        if error.partial is not None:
            encode(topic, error.partial)
        return None


def strict_avro(data: bytes) -> None:
    """The first byte chooses the schema, the rest is a body. What the strict reader takes, fastavro takes to the same end."""
    entries = list(registry().items())
    schema_id, entry = entries[(data[0] if data else 0) % len(entries)]
    body = data[1:]
    try:
        read_strictly(entry["schema"], body)
    except ValueError as error:
        assert len(str(error)) < LONGEST_DETAIL
        return
    stream = io.BytesIO(body)
    schemaless_reader(stream, _parsed(schema_id), None)
    assert stream.tell() == len(body)


def avro_reader(data: bytes) -> None:
    """The first byte chooses the topic, the rest is a body. What the reader made for the topic takes, the strict reader takes, and
    fastavro as the same record.
    """
    topic: Any = TOPICS[(data[0] if data else 0) % len(TOPICS)]
    body = data[1:]
    schema = registry()[topic.schema_id]["schema"]
    try:
        found = _reader(topic)(body, 0)
    except NOT_READ:
        return
    read_strictly(schema, body)
    value: Any = schemaless_reader(io.BytesIO(body), _parsed(topic.schema_id), None)
    assert repr(found) == repr(topic.record.from_avro(value))  # a NaN does not equal itself
    assert repr(_head_reader(topic)(body, 0)) == repr(value)


@cache
def _reader(topic: Any) -> Any:
    return reader(registry()[topic.schema_id]["schema"], topic.record)


@cache
def _head_reader(topic: Any) -> Any:
    return head_reader(registry()[topic.schema_id]["schema"])


@cache
def _parsed(schema_id: int) -> Any:
    return parse_schema(registry()[schema_id]["schema"])


def avro_reader_seeds() -> list[bytes]:
    return [bytes([number]) + value[HEADER_BYTES:] for number, topic in enumerate(TOPICS) for value in examples()[topic.name]]


def codec_seeds() -> list[bytes]:
    return [bytes([number]) + value for number, topic in enumerate(TOPICS) for value in examples()[topic.name]]


def strict_avro_seeds() -> list[bytes]:
    number = {entry["subject"]: place for place, entry in enumerate(registry().values())}
    return [bytes([number[f"{name}-value"]]) + value[HEADER_BYTES:] for name, values in examples().items() for value in values]
