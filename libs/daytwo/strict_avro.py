"""Reads Avro byte by byte and refuses what fastavro lets pass: overlong numbers, booleans that are neither 0 nor 1,
negative indexes and lengths. Slow; used only where a record was not written the way daytwo writes it.

Source: Apache Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

from typing import Any


def read_strictly(schema: Any, body: bytes) -> None:
    """Returns if `body` is exactly one proper value of `schema` (self-contained JSON). Raises ValueError otherwise."""
    reader = _Reader(body)
    reader.value(schema)
    if reader.at != len(body):
        raise ValueError(f"{len(body) - reader.at} bytes behind the value")


class _Reader:
    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0
        self.named: dict[str, Any] = {}

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.body):
            raise ValueError(f"length {count} at byte {self.at}")
        self.at += count
        return self.body[self.at - count : self.at]

    def number(self, bits: int) -> int:
        raw = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            raw |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if raw >> bits:
                    raise ValueError(f"number beyond {bits} bits at byte {self.at}")
                return (raw >> 1) ^ -(raw & 1)
        raise ValueError(f"overlong number at byte {self.at}")

    def index(self, count: int) -> int:
        index = self.number(32)
        if not 0 <= index < count:
            raise ValueError(f"index {index} of {count} at byte {self.at}")
        return index

    def value(self, schema: Any) -> None:
        if isinstance(schema, list):
            return self.value(schema[self.index(len(schema))])
        if isinstance(schema, str):
            return self.value(self.named[schema]) if schema in self.named else self.primitive(schema)
        kind = schema["type"]
        if "name" in schema:
            self.named[f"{schema.get('namespace', 'daytwo')}.{schema['name']}"] = schema
        if kind == "record":
            for field in schema["fields"]:
                self.value(field["type"])
        elif kind == "enum":
            self.index(len(schema["symbols"]))
        elif kind in ("array", "map"):
            self.blocks(schema)
        else:
            self.primitive(kind)
        return None

    def blocks(self, schema: Any) -> None:
        while count := self.number(64):
            if count < 0:
                self.number(64)  # the block's size in bytes, which a reader may use to skip it
            if abs(count) > len(self.body):
                raise ValueError(f"block of {abs(count)} items at byte {self.at}")
            for _ in range(abs(count)):
                if schema["type"] == "map":
                    self.primitive("string")
                self.value(schema["items"] if schema["type"] == "array" else schema["values"])

    def primitive(self, kind: str) -> None:
        if kind in ("int", "long"):
            self.number(32 if kind == "int" else 64)
        elif kind == "boolean":
            if self.take(1)[0] > 1:
                raise ValueError(f"boolean neither 0 nor 1 at byte {self.at}")
        elif kind in ("double", "float"):
            self.take(8 if kind == "double" else 4)
        elif kind == "string":
            self.take(self.number(64)).decode()
        elif kind == "bytes":
            self.take(self.number(64))
        elif kind != "null":
            raise ValueError(f"unknown type {kind}")
