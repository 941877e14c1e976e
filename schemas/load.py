"""Reads `schemas/`: the topic declarations and the Avro schemas, with shared types inlined."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

Schema = Any
"""An Avro schema as JSON: a name, a list (union) or an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One topic as `topics.yaml` declares it. `retention_hours` is None for a compacted topic."""

    name: str
    record: str
    key: str
    partitions: int
    retention_hours: int | None
    max_kib: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All topics, and all named types in an order in which each comes after those it uses."""

    topics: tuple[Declaration, ...]
    types: Mapping[str, Schema]

    def inlined(self, record: str) -> Schema:
        """The self-contained schema of a record: every type is defined where it is used first."""
        return _inline(self.types[record], self.types, set())


def pascal(kebab: str) -> str:
    return "".join(part.capitalize() for part in kebab.split("-"))


def kebab(pascal_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", pascal_name).lower()


def load(folder: Path = HERE) -> Contract:
    """Reads the contract. Raises ValueError, with the file's name, where names and files do not agree."""
    declared = yaml.safe_load((folder / "topics.yaml").read_text())
    topics = tuple(_declaration(name, entry) for name, entry in declared.items())
    files = {path.stem: path for path in [*folder.glob("types/*.avsc"), *folder.glob("*.avsc")]}
    parsed = {}
    for stem, path in files.items():
        schema = json.loads(path.read_text())
        if schema["name"] != pascal(stem) or schema["namespace"] != "daytwo":
            raise ValueError(f"{path.name} must define daytwo.{pascal(stem)}")
        parsed[schema["name"]] = schema
    orphans = {path.stem for path in folder.glob("*.avsc")} ^ {topic.name for topic in topics}
    if orphans:
        raise ValueError(f"topics.yaml and the .avsc files differ: {sorted(orphans)}")
    return Contract(topics=topics, types=_ordered(parsed))


def _declaration(name: str, entry: Mapping[str, Any]) -> Declaration:
    compact = entry["retention"] == "compact"
    return Declaration(
        name=name,
        record=pascal(name),
        key=entry["key"],
        partitions=entry["partitions"],
        retention_hours=None if compact else entry["retention"],
        max_kib=entry.get("max_kib", 1024),
        writers=tuple(entry["writers"]),
        readers=tuple(entry["readers"]),
        why=entry["why"],
    )


def references(schema: Schema) -> Iterator[str]:
    """Names of the daytwo types a schema uses, in order."""
    if isinstance(schema, str):
        if schema.startswith("daytwo."):
            yield schema.removeprefix("daytwo.")
    elif isinstance(schema, list):
        for branch in schema:
            yield from references(branch)
    elif schema["type"] == "record":
        for field in schema["fields"]:
            yield from references(field["type"])
    elif schema["type"] in ("array", "map"):
        yield from references(schema["items" if schema["type"] == "array" else "values"])


def _ordered(parsed: Mapping[str, Schema]) -> dict[str, Schema]:
    ordered: dict[str, Schema] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for used in references(parsed[name]):
                visit(used)
            ordered[name] = parsed[name]

    for name in sorted(parsed):
        visit(name)
    return ordered


def _inline(schema: Schema, types: Mapping[str, Schema], seen: set[str]) -> Schema:
    if isinstance(schema, str):
        name = schema.removeprefix("daytwo.")
        if schema in PRIMITIVES or name in seen:
            return schema
        return _inline(types[name], types, seen)
    if isinstance(schema, list):
        return [_inline(branch, types, seen) for branch in schema]
    if "name" in schema:
        seen.add(schema["name"])
    inlined = dict(schema)
    if schema["type"] == "record":
        inlined["fields"] = [{**field, "type": _inline(field["type"], types, seen)} for field in schema["fields"]]
    for inner in ("items", "values"):
        if inner in schema:
            inlined[inner] = _inline(schema[inner], types, seen)
    return inlined
