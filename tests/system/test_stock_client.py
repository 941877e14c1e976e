"""A stock Confluent client, that knows nothing of daytwo but its registry, submits a request and reads the result."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

pytestmark = [pytest.mark.stack, pytest.mark.system]


def test_a_stock_confluent_client_submits_a_request_and_reads_its_result(daytwo: dict[str, Any]) -> None:
    with SchemaRegistryClient({"url": daytwo["registry"]}) as registry:
        result = submit_and_read(registry, daytwo["kafka"])

    assert result is not None
    assert (result["outcome"], result["reason"], result["served_by"]) == ("answered", "ok", "deployment")
    assert result["message"]["content"]
    assert result["cost_nano"] == sum(attempt["cost_nano"] for attempt in result["attempts"]) > 0
    assert [step["step"] for step in result["steps"]] == ["ingest", "cost-meter", "inference-router"]


def submit_and_read(registry: SchemaRegistryClient, bootstrap: str) -> Any:
    """What a program that knows only Confluent's client does."""
    schema = registry.get_latest_version("request-submitted-value").schema
    serialize = AvroSerializer(registry, schema.schema_str, conf={"auto.register.schemas": False})
    deserialize = AvroDeserializer(registry)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"stock-{uuid.uuid4()}", "auto.offset.reset": "earliest"})
    consumer.subscribe(["request-finished"])
    identity = f"stock-{uuid.uuid4()}"
    request = {"request_id": identity, "tenant": "plain", "messages": [{"role": "user", "content": "What is a topic?"}]}

    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(
        "request-submitted",
        key="plain/stock",
        value=serialize(request, SerializationContext("request-submitted", MessageField.VALUE)),
    )
    assert producer.flush(10) == 0
    result = None
    end = time.monotonic() + 30
    while result is None and time.monotonic() < end:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            value: Any = deserialize(message.value(), SerializationContext("request-finished", MessageField.VALUE))
            result = value if value["request_id"] == identity else None
    consumer.close()
    return result
