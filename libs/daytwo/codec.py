"""Avro in Confluent framing: a zero byte, the schema id in four bytes big-endian, the body.

The writer's schema, found by its id, decides how bytes are read. What fastavro lets pass is an error here: trailing bytes,
numbers out of range, and (with `strict`) any byte that no proper writer would have written. What our own writers wrote in the
newest schema is read by a function made for it (avro_reader.py); fastavro reads, and judges, everything else.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from itertools import takewhile
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader

from daytwo.avro_reader import NOT_READ, head_reader, reader
from daytwo.errors import UnreadableError
from daytwo.strict_avro import read_strictly
from daytwo.topic import R, Record, Topic

HEADER_BYTES: Final = 5

_NO_RECORD: Final = (ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError, RecursionError)
"""What reading raises for bytes that are no record."""


@cache
def registry() -> dict[int, dict[str, Any]]:
    """Every released schema by id: {id: {subject, version, schema}}."""
    text = files("daytwo").joinpath("schemas.json").read_text()
    return {int(schema_id): entry for schema_id, entry in json.loads(text).items()}


@cache
def _parsed(schema_id: int) -> Any:
    return parse_schema(registry()[schema_id]["schema"])


def encode(topic: Topic[R], record: R) -> bytes:
    """The record as bytes. Raises ValueError or TypeError where a value does not fit its type."""
    return _frame(topic.schema_id) + record.to_bytes()


@cache
def _frame(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(HEADER_BYTES - 1, "big")


def decode(topic: Topic[R], data: bytes, *, strict: bool = False) -> R:
    """The record in `data`.

    `strict` is for records that others wrote: every byte is accounted for, by writing the record again or, where a proper
    writer chose another form, by reading it again byte by byte.
    Raises UnreadableError; where a record could be read but must not be trusted, it is the error's `partial`.
    """
    if data.startswith(_frame(topic.schema_id)):
        try:
            made: R = _reader(topic.schema_id, topic.record)(data, HEADER_BYTES)
        except NOT_READ:
            pass
        else:
            return made
    schema_id = _schema_id(topic, data)
    stream = io.BytesIO(data)
    stream.seek(HEADER_BYTES)
    try:
        ours = None if schema_id == topic.schema_id else _parsed(topic.schema_id)
        value: Any = schemaless_reader(stream, _parsed(schema_id), ours)
        record = topic.record.from_avro(value)
    except _NO_RECORD as error:
        raise UnreadableError("unreadable", f"the body does not fit schema {schema_id}: {_in_short(error)}") from error
    if stream.tell() != len(data):
        raise UnreadableError("unreadable", f"{len(data) - stream.tell()} bytes behind the record", partial=record)
    if strict:
        _check_every_byte(schema_id, topic, record, data)
    return record


def decode_head(topic: Topic[R], data: bytes) -> R:
    """The leading texts of the record in `data`, which name it; every other field is empty. For what is too large to be decoded.

    Lists of a few bytes an item become some hundred times their size in memory. Raises UnreadableError.
    """
    schema_id = _schema_id(topic, data)
    empty = {field["name"]: field.get("default", _EMPTY.get(_kind(field))) for field in registry()[schema_id]["schema"]["fields"]}
    try:
        head: Any = schemaless_reader(io.BytesIO(data[HEADER_BYTES:]), _parsed_head(schema_id), None)
        return topic.record.from_avro({**empty, **head})
    except _NO_RECORD as error:
        raise UnreadableError("unreadable", f"the head does not fit schema {schema_id}: {_in_short(error)}") from error


def decode_until(topic: Topic[Any], data: bytes, last: str) -> dict[str, Any]:
    """The leading fields of the record in `data` up to the field `last`, as Avro has them. A third of the time of `decode` where the
    rest is long; for records of our own services, as what comes behind is not looked at. Raises UnreadableError.
    """
    if data.startswith(_frame(topic.schema_id)):
        try:
            return _reader_until(topic.schema_id, last)(data, HEADER_BYTES)
        except NOT_READ:
            pass
    schema_id = _schema_id(topic, data)
    stream = io.BytesIO(data)
    stream.seek(HEADER_BYTES)
    try:
        if schema_id != topic.schema_id:
            found: Any = schemaless_reader(stream, _parsed(schema_id), _parsed(topic.schema_id))
        else:
            found = schemaless_reader(stream, _parsed_until(schema_id, last), None)
    except _NO_RECORD as error:
        raise UnreadableError("unreadable", f"the body does not fit schema {schema_id}: {_in_short(error)}") from error
    read: dict[str, Any] = found
    return read


_EMPTY: Final[dict[str, Any]] = {"string": "", "array": [], "map": {}}


def _kind(field: dict[str, Any]) -> str:
    kind = field["type"]
    return str(kind["type"] if isinstance(kind, dict) else kind)


@cache
def _parsed_head(schema_id: int) -> Any:
    schema = registry()[schema_id]["schema"]
    texts = list(takewhile(lambda field: field["type"] == "string", schema["fields"]))
    return parse_schema({**schema, "fields": texts})


@cache
def _parsed_until(schema_id: int, last: str) -> Any:
    return parse_schema(_until(schema_id, last))


def _until(schema_id: int, last: str) -> dict[str, Any]:
    schema = registry()[schema_id]["schema"]
    names = [field["name"] for field in schema["fields"]]
    return {**schema, "fields": schema["fields"][: names.index(last) + 1]}


@cache
def _reader(schema_id: int, record: type[Any]) -> Callable[[bytes, int], Any]:
    return reader(registry()[schema_id]["schema"], record)


@cache
def _reader_until(schema_id: int, last: str) -> Callable[[bytes, int], dict[str, Any]]:
    return head_reader(_until(schema_id, last))


def _in_short(error: Exception) -> str:
    """What went wrong, without the record: a UnicodeDecodeError's own representation holds all the bytes it stumbled over."""
    return f"{type(error).__name__}: {error}"[:300]


def _schema_id(topic: Topic[Any], data: bytes) -> int:
    if len(data) < HEADER_BYTES or data[0] != 0:
        raise UnreadableError("unreadable", "no Confluent framing: a zero byte and a four-byte schema id must come first")
    schema_id = int.from_bytes(data[1:HEADER_BYTES], "big")
    entry = registry().get(schema_id)
    if entry is None:
        raise UnreadableError("unreadable", f"unknown schema id {schema_id}")
    if entry["subject"] != f"{topic.name}-value":
        raise UnreadableError("unreadable", f"schema id {schema_id} is of {entry['subject']}, not of {topic.name}")
    return schema_id


def _check_every_byte(schema_id: int, topic: Topic[Any], record: Record, data: bytes) -> None:
    if schema_id == topic.schema_id and encode(topic, record) == data:
        return
    try:
        read_strictly(registry()[schema_id]["schema"], data[HEADER_BYTES:])
    except ValueError as error:
        raise UnreadableError("unreadable", f"not proper Avro: {error}", partial=record) from error
