"""Writes the Python side of the contract: `records.py` (one class a record) and `topics.py` (the constants)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schemas.load import Contract, Declaration, Schema, kebab

SCALARS = {
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
}
BYTES = {"int": "integer", "boolean": "truth", "double": "float64", "bytes": "octets"}
CHECKED = {"int": "int32", "long": "int64", "boolean": "boolean", "double": "double"}
VALUES = ",\n    ".join(
    "LONGS TEXTS boolean double float64 indexes int32 int64 integer long many mapped octets truth".split()  # noqa: SIM905
)
RECORDS_DOC = """The records of every topic.

`to_bytes` is what fastavro makes of `to_avro`, byte for byte, in a quarter of the time (docs/adr/0014-records-write-themselves.md);
tests/libs/test_codec.py holds the two together.
"""
HEADER = '"""{doc}\n\nGenerated from schemas/ by `make schemas`; do not edit.\n"""\n\nfrom __future__ import annotations\n\n'


def records_module(contract: Contract) -> str:
    parts = [
        HEADER.format(doc=RECORDS_DOC.rstrip()),
        "from collections.abc import Mapping\n",
        "from dataclasses import field\n",
        "from typing import Any, Final, Literal\n\n",
        f"from daytwo.avro_values import (\n    {VALUES},\n)\nfrom daytwo.topic import record\n",
    ]
    for name, schema in contract.types.items():
        parts.append(_enum(name, schema) if schema["type"] == "enum" else _dataclass(name, schema, contract.types))
    return "".join(parts)


def _enum(name: str, schema: Schema) -> str:
    symbols = ", ".join(f'"{symbol}"' for symbol in schema["symbols"])
    index = f"\n_{name}: Final = indexes({symbols})\n"
    return f'\n{name} = Literal[{symbols}]\n"""{schema["doc"]}"""\n{index}'


def _dataclass(name: str, schema: Schema, types: Mapping[str, Schema]) -> str:
    lines = [
        "",
        "",
        "@record",
        f"class {name}:",
        f'    """{schema["doc"]}"""',
        "",
    ]
    for field in schema["fields"]:
        default = f" = {_default(field['type'], field['default'], types)}" if "default" in field else ""
        lines += [f"    {field['name']}: {_annotation(field['type'])}{default}", f'    """{field["doc"]}"""']
    lines += [
        "",
        "    @classmethod",
        f"    def from_avro(cls, value: Mapping[str, Any]) -> {name}:",
        "        new: Any = object.__new__(cls)",
    ]
    lines += [f"        new.{f['name']} = {_read(f['type'], _item(f['name']), types)}" for f in schema["fields"]]
    lines += [f"        made: {name} = new", "        return made"]
    lines += ["", "    def to_avro(self) -> dict[str, Any]:", "        return {"]
    lines += [f'            "{f["name"]}": {_write(f["type"], "self." + f["name"], types)},' for f in schema["fields"]]
    lines += ["        }", "", "    def to_bytes(self) -> bytes:", '        return b"".join(', "            ("]
    lines += [f"                {_bytes(f['type'], 'self.' + f['name'], types)}," for f in schema["fields"]]
    lines += ["            )", "        )", ""]
    return "\n".join(lines)


def _item(name: str) -> str:
    return f'value["{name}"]'


def _named(schema: Schema) -> str:
    return str(schema).removeprefix("daytwo.")


def _annotation(schema: Schema) -> str:
    if isinstance(schema, str):
        return SCALARS.get(schema, _named(schema))
    if isinstance(schema, list):
        return f"{_annotation(schema[1])} | None"
    if schema["type"] == "array":
        return f"tuple[{_annotation(schema['items'])}, ...]"
    return f"Mapping[str, {_annotation(schema['values'])}]"


def _default(schema: Schema, value: Any, types: Mapping[str, Schema]) -> str:
    if isinstance(schema, dict):
        return "()" if schema["type"] == "array" else "field(default_factory=dict)"
    if isinstance(value, dict):
        return f"{_named(schema)}({', '.join(f'{key}={item!r}' for key, item in value.items())})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _is_record(schema: Schema, types: Mapping[str, Schema]) -> bool:
    return isinstance(schema, str) and schema.startswith("daytwo.") and types[_named(schema)]["type"] == "record"


def _read(schema: Schema, source: str, types: Mapping[str, Schema]) -> str:
    if isinstance(schema, list):
        inner = _read(schema[1], source, types)
        return source if inner == source else f"None if {source} is None else {inner}"
    if isinstance(schema, dict):
        if schema["type"] == "map":
            return source
        inner = _read(schema["items"], "item", types)
        return f"tuple({source})" if inner == "item" else f"tuple([{inner} for item in {source}])"
    if _is_record(schema, types):
        return f"{_named(schema)}.from_avro({source})"
    return f"int32({source})" if schema == "int" else source


def _write(schema: Schema, source: str, types: Mapping[str, Schema]) -> str:
    if isinstance(schema, list):
        if _is_record(schema[1], types):
            return f'None if {source} is None else ("{schema[1]}", {source}.to_avro())'
        inner = _write(schema[1], source, types)
        return source if inner == source else f"None if {source} is None else {inner}"
    if isinstance(schema, dict):
        if schema["type"] == "map":
            return source
        inner = _write(schema["items"], "item", types)
        return source if inner == "item" else f"[{inner} for item in {source}]"
    if _is_record(schema, types):
        return f"{source}.to_avro()"
    return f"{CHECKED[schema]}({source})" if schema in CHECKED else source


def _bytes(schema: Schema, source: str, types: Mapping[str, Schema]) -> str:
    """The expression of a value's bytes; of what is the same again and again they are looked up."""
    if isinstance(schema, list):
        return f'b"\\0" if {source} is None else b"\\2" + {_bytes(schema[1], source, types)}'
    if isinstance(schema, dict):
        inner = schema["values"] if schema["type"] == "map" else schema["items"]
        of_all = f"[{_bytes(inner, 'item', types)} for item in {source}{'.values()' if schema['type'] == 'map' else ''}]"
        return f"mapped({source}, {of_all})" if schema["type"] == "map" else f'many({of_all}) if {source} else b"\\0"'
    if _is_record(schema, types):
        return f"{source}.to_bytes()"
    if schema.startswith("daytwo."):
        return f"_{_named(schema)}[{source}]"
    if schema == "string":
        return f"TEXTS[{source}]"
    if schema == "long":
        return f"LONGS[{source}] if type({source}) is int else long({source})"
    return f"{BYTES[schema]}({source})"


def topics_module(contract: Contract, ids: Mapping[str, Mapping[str, int]]) -> str:
    records = ",\n    ".join(sorted(topic.record for topic in contract.topics))
    parts = [
        HEADER.format(doc="Every topic, as a constant; see docs/topics.md."),
        "from typing import Any, Final\n\n",
        f"from daytwo.records import (\n    {records},\n)\n",
        "from daytwo.topic import Topic\n",
    ]
    parts += [_topic(topic, max(ids[topic.name].items(), key=lambda item: int(item[0]))[1]) for topic in contract.topics]
    constants = "".join(f"    {_constant(topic.name)},\n" for topic in contract.topics)
    parts.append(f"\nTOPICS: Final[tuple[Topic[Any], ...]] = (\n{constants})\n")
    parts.append("\nTOPIC_OF: Final[dict[type, Topic[Any]]] = {topic.record: topic for topic in TOPICS}\n")
    parts.append('"""The topic a record belongs to: each record has exactly one."""\n')
    parts.append("\nTOPIC_NAMED: Final[dict[str, Topic[Any]]] = {topic.name: topic for topic in TOPICS}\n")
    return "".join(parts)


def _constant(name: str) -> str:
    return name.upper().replace("-", "_")


def _topic(topic: Declaration, schema_id: int) -> str:
    lines = [
        "",
        f"{_constant(topic.name)}: Final = Topic(",
        f'    name="{topic.name}",',
        f"    record={topic.record},",
        f"    key=lambda record: {_key(topic.key)},",
        f"    schema_id={schema_id},",
        f"    partitions={topic.partitions},",
        f"    retention_hours={topic.retention_hours},",
        f"    max_bytes={topic.max_kib * 1024},",
        f"    writers=({''.join(f'{chr(34)}{name}{chr(34)}, ' for name in topic.writers)}),",
        f"    readers=({''.join(f'{chr(34)}{name}{chr(34)}, ' for name in topic.readers)}),",
        f'    why="{topic.why}",',
        ")",
        "",
    ]
    return "\n".join(lines)


def _key(template: str) -> str:
    def field(match: re.Match[str]) -> str:
        return "{" + " or ".join(f"record.{path}" for path in match[1].split("|")) + "}"

    return f'f"{re.sub(r"{([^}]+)}", field, template)}"'


__all__ = ["kebab", "records_module", "topics_module"]
