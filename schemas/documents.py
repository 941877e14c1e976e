"""Writes what people and tools read of the contract: `docs/topics.md` and `docs/asyncapi.yaml` (AsyncAPI 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from schemas.load import PRIMITIVES, Contract, Declaration, Schema, kebab


def topics_page(contract: Contract, ids: Mapping[str, Mapping[str, int]]) -> str:
    topics = frozenset(topic.name for topic in contract.topics)
    parts = [
        (
            "# Topics\n\nGenerated from `schemas/` by `make schemas`; do not edit. Values are Avro in Confluent framing "
            "(a zero byte, the schema id in four bytes, the body); "
            "keys are UTF-8 text; times are epoch milliseconds; money is nano-dollars.\n"
        ),
        "\n| topic | key | partitions | kept | written by | read by | why |\n|---|---|---|---|---|---|---|\n",
    ]
    for topic in contract.topics:
        row = [f"[{topic.name}](#{topic.name})", f"`{topic.key.replace('|', ' or ')}`", str(topic.partitions), kept(topic)]
        row += [", ".join(topic.writers), ", ".join(topic.readers), topic.why]
        parts.append("| " + " | ".join(row) + " |\n")
    for topic in contract.topics:
        schema_id = max(ids[topic.name].values())
        parts.append(f"\n## {topic.name}\n\n{contract.types[topic.record]['doc']} Schema id {schema_id}.\n")
        parts.append(_fields(contract.types[topic.record], topics))
    parts.append("\n# Types\n")
    records = {topic.record for topic in contract.topics}
    for name, schema in contract.types.items():
        if name not in records:
            parts.append(f"\n## {name}\n\n{schema['doc']}\n")
            parts.append(_fields(schema, topics) if schema["type"] == "record" else f"\nOne of: {', '.join(schema['symbols'])}.\n")
    return "".join(parts)


def kept(topic: Declaration) -> str:
    return "compacted" if topic.retention_hours is None else f"{topic.retention_hours} h"


def _fields(schema: Schema, topics: frozenset[str]) -> str:
    rows = "".join(
        f"| {field['name']} | {_type(field['type'], topics)} | {'yes' if 'default' not in field else ''} | {field['doc']} |\n"
        for field in schema["fields"]
    )
    return f"\n| field | type | required | |\n|---|---|---|---|\n{rows}"


def _type(schema: Schema, topics: frozenset[str]) -> str:
    if isinstance(schema, list):
        return f"{_type(schema[1], topics)} or null"
    if isinstance(schema, dict):
        return f"{schema['type']} of {_type(schema.get('items') or schema['values'], topics)}"
    if schema in PRIMITIVES:
        return str(schema)
    name = schema.removeprefix("daytwo.")
    return f"[{name}](#{kebab(name) if kebab(name) in topics else name.lower()})"


def asyncapi(contract: Contract, version: str) -> str:
    """The contract as AsyncAPI 3.0: a channel a topic, operations as an application outside daytwo sees them."""
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "daytwo",
            "version": version,
            "description": "Produce request-submitted, consume request-finished. Generated from schemas/ by `make schemas`.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": {"local": {"host": "127.0.0.1:9092", "protocol": "kafka", "description": "What `make up` starts."}},
        "defaultContentType": "application/vnd.apache.avro",
        "channels": {topic.name: _channel(topic, contract) for topic in contract.topics},
        "operations": {},
    }
    for topic in contract.topics:
        reference = {"$ref": f"#/channels/{topic.name}"}
        if "client" in topic.writers or "operator" in topic.writers:
            document["operations"][f"send-{topic.name}"] = {
                "action": "send",
                "channel": reference,
                "summary": topic.why,
            }
        if "client" in topic.readers or "operator" in topic.readers:
            document["operations"][f"receive-{topic.name}"] = {
                "action": "receive",
                "channel": reference,
                "summary": topic.why,
            }
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def _channel(topic: Declaration, contract: Contract) -> dict[str, Any]:
    message = {
        "name": topic.record,
        "summary": contract.types[topic.record]["doc"],
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "schemaIdLocation": "payload"}},
        "payload": {
            "schemaFormat": "application/vnd.apache.avro+json;version=1.11.0",
            "schema": contract.inlined(topic.record),
        },
    }
    return {
        "address": topic.name,
        "description": topic.why,
        "messages": {topic.record: message},
        "bindings": {"kafka": {"topic": topic.name, "partitions": topic.partitions}},
    }
