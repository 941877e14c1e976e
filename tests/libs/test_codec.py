"""What is on the wire is read as its writer wrote it, or not at all."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from daytwo import codec
from daytwo.codec import HEADER_BYTES, decode, decode_until, encode, registry
from daytwo.errors import UnreadableError
from daytwo.records import CachePolicy, MetricSampled, RequestSubmitted, TenantConfigured
from daytwo.strict_avro import read_strictly
from daytwo.topics import METRIC_SAMPLED, REQUEST_FINISHED, REQUEST_SUBMITTED, TENANT_CONFIGURED, TOPICS
from schemas.load import HERE
from tests.libs.builders import submitted

EXAMPLES = sorted((HERE / "examples").glob("*/*.json"))


def tenant(threshold: float = 0.5, ttl_s: int = 1) -> TenantConfigured:
    return TenantConfigured(tenant="t", cache=CachePolicy(threshold=threshold, ttl_s=ttl_s))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_an_example_and_it_survives_the_wire(topic: Any) -> None:
    examples = [path for path in EXAMPLES if path.parent.name == topic.name]
    assert examples

    for path in examples:
        record = topic.record.from_avro(_bytes(json.loads(path.read_text())))
        assert decode(topic, encode(topic, record), strict=True) == record
        assert topic.key(record)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_what_we_write_is_read_without_fastavro(topic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "schemaless_reader", None)
    for path in (path for path in EXAMPLES if path.parent.name == topic.name):
        record = topic.record.from_avro(_bytes(json.loads(path.read_text())))
        assert decode(topic, encode(topic, record)) == record
        last = next(reversed(record.to_avro()))
        assert decode_until(topic, encode(topic, record), last).keys() == record.to_avro().keys()


def _values(schema: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Avro values of a schema, those at the ends of their type among them."""
    if isinstance(schema, list):
        return st.one_of(st.none(), _values(schema[1], named))
    if isinstance(schema, str):
        return _values(named[schema], named) if schema in named else _PLAIN[schema]
    if "name" in schema:
        named[f"daytwo.{schema['name']}"] = schema
    if schema["type"] == "record":
        return st.fixed_dictionaries({field["name"]: _values(field["type"], named) for field in schema["fields"]})
    if schema["type"] == "enum":
        return st.sampled_from(schema["symbols"])
    if schema["type"] == "map":
        return st.dictionaries(_PLAIN["string"], _values(schema["values"], named), max_size=3)
    return st.lists(_values(schema["items"], named), max_size=2) if schema["type"] == "array" else _PLAIN[schema["type"]]


_PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=100),
    "bytes": st.binary(max_size=20),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-100, 100)),
    "double": st.floats(allow_nan=False),
}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@given(data=st.data())
def test_a_record_writes_itself_as_fastavro_would(topic: Any, data: st.DataObject) -> None:
    schema = registry()[topic.schema_id]["schema"]
    record = topic.record.from_avro(data.draw(_values(schema, {})))
    written = io.BytesIO()
    schemaless_writer(written, parse_schema(schema), record.to_avro())

    assert encode(topic, record)[HEADER_BYTES:] == written.getvalue()
    assert decode(topic, encode(topic, record)) == record


def _bytes(value: Any) -> Any:
    """Examples are JSON; {"$bytes": text} stands for bytes."""
    if isinstance(value, dict):
        return value["$bytes"].encode() if value.keys() == {"$bytes"} else {key: _bytes(item) for key, item in value.items()}
    return [_bytes(item) for item in value] if isinstance(value, list) else value


def test_the_frame_is_a_zero_byte_and_the_schema_id_in_four_bytes() -> None:
    data = encode(REQUEST_SUBMITTED, submitted("r", "t"))

    assert data[:5] == b"\0" + REQUEST_SUBMITTED.schema_id.to_bytes(4, "big")


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_but_unreadable(body: bytes) -> None:
    for data in (body, encode(REQUEST_SUBMITTED, submitted("r", "t"))[:5] + body):
        with suppress(UnreadableError):
            decode(REQUEST_SUBMITTED, data, strict=True)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_is_unreadable_or_still_a_proper_record(place: int, value: int) -> None:
    data = bytearray(encode(REQUEST_SUBMITTED, submitted("request", "tenant", metadata={"a": "b"})))
    data[place % len(data)] = value

    try:
        record = decode(REQUEST_SUBMITTED, bytes(data), strict=True)
    except UnreadableError:
        return
    assert isinstance(record, RequestSubmitted)


def test_a_record_of_another_topic_is_refused_by_name() -> None:
    data = encode(TENANT_CONFIGURED, tenant())

    with pytest.raises(UnreadableError, match="tenant-configured-value"):
        decode(REQUEST_FINISHED, data)


def test_trailing_bytes_are_refused_with_what_could_be_read() -> None:
    data = encode(TENANT_CONFIGURED, tenant()) + b"\0"

    with pytest.raises(UnreadableError) as caught:
        decode(TENANT_CONFIGURED, data)

    assert caught.value.partial == tenant()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("max_tokens", 2**31),
        ("deadline_ms", 2**63),
        ("deadline_ms", 1.0),
        ("temperature", "warm"),
        ("user", b"u"),
        ("lane", "slow"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_not_written(field: str, value: Any) -> None:
    request = submitted("r", "t", **{field: value})

    with pytest.raises((ValueError, TypeError), match=r"not a|none of"):
        encode(REQUEST_SUBMITTED, request)


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ("boolean", b"\x02"),
        ("int", b"\xff\xff\xff\xff\xff\x0f"),
        ("long", b"\xff" * 10 + b"\x01"),
        ("string", b"\x01abc"),
        ("string", b"\x04\xff\xfe"),
        (["null", "string"], b"\x03\x02a"),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x01"),
        ({"type": "array", "items": "null"}, b"\x90\x4e\x00"),
        ("int", b"\x02\x02"),
    ],
)
def test_what_fastavro_lets_pass_is_refused(schema: Any, body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        read_strictly(schema, body)


def test_an_array_in_blocks_with_sizes_is_proper_avro() -> None:
    read_strictly({"type": "array", "items": "long"}, b"\x03\x04\x02\x04\x00")


def test_an_overlong_number_in_a_request_is_found_by_the_strict_reading() -> None:
    record = MetricSampled(service="s", instance="i", name="n", value=1.0, at_ms=1)
    proper = encode(METRIC_SAMPLED, record)
    overlong = proper[:-1] + b"\x82\x00"

    assert decode(METRIC_SAMPLED, overlong) == record
    assert decode(METRIC_SAMPLED, overlong, strict=True) == record  # two bytes for 1 are allowed; beyond 64 bits is not
    with pytest.raises(UnreadableError):
        decode(METRIC_SAMPLED, proper[:-1] + b"\x82" + b"\x80" * 10 + b"\x00", strict=True)


def test_the_registry_holds_every_topics_current_schema() -> None:
    for topic in TOPICS:
        assert registry()[topic.schema_id]["subject"] == f"{topic.name}-value"


@pytest.mark.parametrize("schema_id", [number for number, entry in registry().items() if entry["subject"] == "request-finished-value"])
def test_a_record_of_any_version_can_be_read_up_to_a_field(schema_id: int) -> None:
    path = next(path for path in EXAMPLES if path.parent.name == REQUEST_FINISHED.name)
    record = REQUEST_FINISHED.record.from_avro(_bytes(json.loads(path.read_text())))
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(registry()[schema_id]["schema"]), record.to_avro())

    found = decode_until(REQUEST_FINISHED, b"\0" + schema_id.to_bytes(HEADER_BYTES - 1, "big") + out.getvalue(), "cost_nano")

    assert (found["request_id"], found["cost_nano"]) == (record.request_id, record.cost_nano)
    assert found["usage"]["input_tokens"] == record.usage.input_tokens
    assert schema_id != REQUEST_FINISHED.schema_id or "attempts" not in found


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0\1", b"\1" * 40])
def test_what_is_no_record_of_the_topic_cannot_be_read_up_to_a_field_either(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode_until(REQUEST_FINISHED, data, "cost_nano")
